//! The packets between host and guard: each comes out as it went in, and nothing else passes for one.

use super::wire::{Exited, FromGuard, Packet, Start, Step, Strings, ToGuard, VERSION, WORDS};

const STEPS: [Step; 8] = [
    Step::Guard,
    Step::Contain,
    Step::Clone,
    Step::Group,
    Step::Streams,
    Step::Directory,
    Step::Execute,
    Step::Terminal,
];

fn orders() -> Vec<ToGuard> {
    let none =
        Start { supervisor: -1, bells: [-1; 2], leaf: i32::MIN, terminal: i32::MAX, ..Start::default() };
    let full = Start {
        flags: (1 << 9) - 1,
        strings: Strings { directory: 1, leaf: 1, candidates: 1 << 24, args: 1 << 24, vars: 1 << 24 },
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
    let flags = (9..64).map(|bit| (1, 1 << bit));
    let counts = [(2, 2), (3, 2), (4, (1 << 24) + 1), (5, (1 << 24) + 1), (6, u64::MAX), (9, 4)];
    // Descriptors are 32 bits, and −1 is not the whole word.
    let descriptors = (10..15).flat_map(|at| [(at, 1 << 32), (at, u64::MAX)]);
    let behind = (15..WORDS).map(|at| (at, 1));
    for (at, word) in flags.chain(counts).chain(descriptors).chain(behind) {
        assert_eq!(ToGuard::decode(&with(start, at, word)), None, "word {at} is {word:#x}");
    }
    for order in [ToGuard::Kill, ToGuard::Detach] {
        for at in 1..WORDS {
            assert_eq!(ToGuard::decode(&with(order.encode(), at, 1)), None, "{order:?} with word {at}");
        }
    }
    let refused = FromGuard::Refused { step: Step::Guard, errno: 1 }.encode();
    for step in [0, 9, u64::MAX] {
        assert_eq!(FromGuard::decode(&with(refused, 1, step)), None, "step {step}");
    }
    for news in news() {
        let packet = news.encode();
        let used = match news {
            FromGuard::Started { .. } => 4,
            FromGuard::Refused { .. } => 3,
            FromGuard::Stopped { .. } => 2,
            FromGuard::Continued | FromGuard::Empty | FromGuard::TwinLost => 1,
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
    for kind in (0..=u64::from(u16::MAX)).filter(|kind| !(1..=7).contains(kind)) {
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
