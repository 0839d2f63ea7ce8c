//! The packets between host and guard: each comes out as it went in, and nothing else passes for one.

use super::standing::{Groups, Standing};
use super::wire::{Exited, FromGuard, Packet, Start, Step, Strings, ToGuard, VERSION, WORDS};

const STEPS: [Step; 14] = [
    Step::Guard,
    Step::Contain,
    Step::Clone,
    Step::Group,
    Step::Streams,
    Step::Directory,
    Step::Execute,
    Step::Terminal,
    Step::Nice,
    Step::Groups,
    Step::Gid,
    Step::Uid,
    Step::Limit(0),
    Step::Limit(15),
];

fn orders() -> Vec<ToGuard> {
    let none =
        Start { supervisor: -1, bells: [-1; 2], leaf: i32::MIN, terminal: i32::MAX, ..Start::default() };
    let full = Start {
        flags: (1 << 10) - 1,
        strings: Strings {
            directory: 1,
            leaf: 1,
            standing: 1,
            candidates: 1 << 24,
            args: 1 << 24,
            vars: 1 << 24,
        },
        blocked: u64::MAX,
        ignored: 1 << 63,
        group: 3,
        supervisor: 3,
        bells: [4, 5],
        leaf: 6,
        terminal: 7,
    };
    [none, full, Start::default()]
        .map(ToGuard::Start)
        .into_iter()
        .chain([ToGuard::Kill, ToGuard::Detach])
        .collect()
}

fn news() -> Vec<FromGuard> {
    let refused = STEPS
        .into_iter()
        .flat_map(|step| [0, 1, 133, i32::MAX, i32::MIN].map(|errno| FromGuard::Refused { step, errno }));
    let exited =
        Exited { code: 3, status: -9, user_us: u64::MAX, system_us: 1, peak_kib: 1 << 40, alone: true };
    [
        FromGuard::Started { pid: 0, guard: 0, joined: false },
        FromGuard::Started { pid: u32::MAX, guard: 4_194_304, joined: true },
        FromGuard::Stopped { signal: 19 },
        FromGuard::Stopped { signal: -1 },
        FromGuard::Continued,
        FromGuard::Exited(Exited::default()),
        FromGuard::Exited(exited),
        FromGuard::Empty,
        FromGuard::TwinLost,
        FromGuard::Split,
    ]
    .into_iter()
    .chain(refused)
    .collect()
}

#[test]
fn every_packet_comes_out_as_it_went_in() {
    for order in orders() {
        assert_eq!(ToGuard::decode(&order.encode()), Some(order));
    }
    for news in news() {
        assert_eq!(FromGuard::decode(&news.encode()), Some(news));
    }
}

#[test]
fn the_version_is_in_the_first_word() {
    let packets = orders().into_iter().map(ToGuard::encode).chain(news().into_iter().map(FromGuard::encode));
    for packet in packets {
        assert_eq!(packet[0] >> 16 & 0xFFFF, u64::from(VERSION));
        for version in [0, u64::from(VERSION) + 1, 0xFFFF] {
            let mut other = packet;
            other[0] = other[0] & !0xFFFF_0000 | version << 16;
            assert_eq!((ToGuard::decode(&other), FromGuard::decode(&other)), (None, None));
        }
    }
}

/// Word by word, what is one too many.
#[test]
fn what_is_not_known_is_refused() {
    let start = ToGuard::Start(Start::default()).encode();
    let with = |packet: Packet, at: usize, word: u64| {
        let mut packet = packet;
        packet[at] = word;
        packet
    };
    let flags = (10..64).map(|bit| (1, 1 << bit));
    let many = (1 << 24) + 1;
    let counts = [(2, 2), (3, 2), (4, 2), (5, many), (6, many), (7, u64::MAX), (10, 4)];
    // Descriptors are 32 bits, and −1 is not the whole word.
    let descriptors = (11..16).flat_map(|at| [(at, 1 << 32), (at, u64::MAX)]);
    let behind = (16..WORDS).map(|at| (at, 1));
    for (at, word) in flags.chain(counts).chain(descriptors).chain(behind) {
        assert_eq!(ToGuard::decode(&with(start, at, word)), None, "word {at} is {word:#x}");
    }
    for order in [ToGuard::Kill, ToGuard::Detach] {
        for at in 1..WORDS {
            assert_eq!(ToGuard::decode(&with(order.encode(), at, 1)), None, "{order:?} with word {at}");
        }
    }
    let refused = FromGuard::Refused { step: Step::Guard, errno: 1 }.encode();
    for step in [0, 13, 15, 32, u64::MAX] {
        assert_eq!(FromGuard::decode(&with(refused, 1, step)), None, "step {step}");
    }
    for news in news() {
        let packet = news.encode();
        let used = match news {
            FromGuard::Started { .. } => 4,
            FromGuard::Refused { .. } => 3,
            FromGuard::Stopped { .. } => 2,
            FromGuard::Continued | FromGuard::Empty | FromGuard::TwinLost | FromGuard::Split => 1,
            FromGuard::Exited(_) => 7,
        };
        for at in used..WORDS {
            assert_eq!(FromGuard::decode(&with(packet, at, 1)), None, "{news:?} with word {at}");
        }
    }
    let started = FromGuard::Started { pid: 1, guard: 2, joined: true }.encode();
    for (at, word) in [(1, 1 << 32), (2, 1 << 32), (3, 2)] {
        assert_eq!(FromGuard::decode(&with(started, at, word)), None, "word {at} is {word:#x}");
    }
    for kind in (0..=u64::from(u16::MAX)).filter(|kind| !(1..=8).contains(kind)) {
        let unknown = with([0; WORDS], 0, start[0] & !0xFFFF | kind);
        assert_eq!((ToGuard::decode(&unknown), FromGuard::decode(&unknown)), (None, None), "kind {kind}");
    }
}

#[test]
fn whatever_passes_is_exactly_a_packet() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let valid: Vec<Packet> =
        orders().into_iter().map(ToGuard::encode).chain(news().into_iter().map(FromGuard::encode)).collect();
    let (mut orders_passed, mut news_passed) = (0, 0);
    for round in 0..1_000_000 {
        let mut packet = if round % 4 == 0 {
            std::array::from_fn(|_| random.next())
        } else {
            valid[random.below(valid.len())]
        };
        if round % 8 == 0 {
            // Random words behind a good first one.
            packet[0] = valid[random.below(valid.len())][0];
        }
        for _ in 0..random.below(4) {
            let at = random.below(WORDS);
            packet[at] = match random.below(5) {
                0 => packet[at] ^ 1 << random.below(64),
                1 => random.next(),
                2 => random.next() % 4,
                3 => u64::from(u32::MAX),
                _ => 0,
            };
        }
        if let Some(order) = ToGuard::decode(&packet) {
            assert_eq!(order.encode(), packet, "{order:?}");
            orders_passed += 1;
        }
        if let Some(news) = FromGuard::decode(&packet) {
            assert_eq!(news.encode(), packet, "{news:?}");
            news_passed += 1;
        }
    }
    // Else it would have shown nothing.
    assert!(orders_passed > 1000 && news_passed > 1000, "{orders_passed} orders, {news_passed} news");
}

fn standings() -> Vec<Standing> {
    static GROUPS: [u32; 4] = [0, 1000, 0x8000_0000, u32::MAX];
    let full = Standing {
        uid: Some(u32::MAX),
        gid: Some(0),
        groups: Groups::Exactly(GROUPS.as_ptr().cast(), GROUPS.len()),
        umask: Some(0o777),
        nice: Some(-20),
        limited: 0xFFFF,
        limits: std::array::from_fn(|at| [at as u64, u64::MAX - at as u64]),
    };
    let mut some = Standing { uid: Some(65534), groups: Groups::NoneIfAllowed, ..Standing::OURS };
    some.limit(7, 1 << 40, u64::MAX);
    some.limit(15, 0, 0);
    let none = Groups::Exactly(GROUPS.as_ptr().cast(), 0);
    vec![Standing::OURS, full, some, Standing { groups: none, nice: Some(19), ..Standing::OURS }]
}

fn packed(standing: &Standing) -> Vec<u8> {
    let mut bytes = Vec::new();
    standing.pack(|byte| bytes.push(byte));
    assert!(!bytes.contains(&0), "a string");
    bytes.push(0);
    bytes
}

/// Unpacked from a copy of these bytes, with the groups, which it writes over that copy.
fn unpacked(bytes: &[u8]) -> Option<(Standing, Vec<u32>)> {
    let mut text = bytes.to_vec();
    let mut standing = Standing::OURS;
    // SAFETY: it ends with a NUL and is ours.
    unsafe { standing.unpack(text.as_mut_ptr().cast()) }?;
    let len = if let Groups::Exactly(_, len) = standing.groups { len } else { 0 };
    let groups = text[..len * 4].as_chunks::<4>().0.iter().map(|group| u32::from_ne_bytes(*group));
    Some((standing, groups.collect()))
}

#[test]
fn a_standing_comes_out_as_it_went_in() {
    for standing in standings() {
        let bytes = packed(&standing);
        let (out, groups) = unpacked(&bytes).expect("it was packed");
        match (standing.groups, out.groups) {
            (Groups::Exactly(_, len), Groups::Exactly(_, also)) => {
                assert_eq!((len, len), (also, groups.len()));
            }
            (one, other) => assert_eq!(one, other),
        }
        if !groups.is_empty() {
            assert_eq!(groups, [0, 1000, 0x8000_0000, u32::MAX]);
        }
        let alike = Standing { groups: Groups::Ours, ..out };
        assert_eq!(alike, Standing { groups: Groups::Ours, ..standing });
    }
}

#[test]
fn what_is_no_standing_is_refused() {
    for standing in standings() {
        let bytes = packed(&standing);
        for len in 0..bytes.len() - 1 {
            assert!(unpacked(&[&bytes[..len], &[0]].concat()).is_none(), "{len} bytes of {standing:?}");
        }
        assert!(unpacked(&[&bytes[..bytes.len() - 1], &[0x80, 0]].concat()).is_none(), "a byte too many");
        // Each of the head's and of the limits' bits that mean nothing, and more than 32 bits.
        for (at, bit) in [(0, 6), (1, 0), (4, 3), (4, 4), (7, 2), (7, 6), (8, 0), (9, 4)] {
            let mut other = bytes.clone();
            other[at] |= 1 << bit;
            assert!(unpacked(&other).is_none(), "byte {at}, bit {bit} of {standing:?}");
        }
    }
}

/// xorshift: the same packets in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is small")
    }
}
