//! The configurations that are explored.

use crate::check::{APPEAL, DAYS, DUE, EARLY, END, NOW, Scenario, Start};
use crate::meta::Behaviour::{self, Dies, DiesLater, Extended, Stays};
use crate::world::Job::{
    self, Checkpoint, Connect, ConnectShort, Deauthorize, Delete, Disconnect, Doubt, FinishDeletion, Import,
    Password, Reseal, Sweep, Vend,
};
use crate::world::Left;

const NOTHING: Left = Left { crashes: 0, losses: 0, troubles: 0 };
const CRASH: Left = Left { crashes: 1, ..NOTHING };
const LOSS: Left = Left { losses: 1, ..NOTHING };
const TROUBLE: Left = Left { troubles: 1, ..NOTHING };
const BOTH: Left = Left { crashes: 1, losses: 1, troubles: 0 };
const ALL: Left = Left { crashes: 1, losses: 1, troubles: 1 };

fn scenario(name: &'static str, behaviour: Behaviour, workers: &[Job], left: Left) -> Scenario {
    Scenario {
        name,
        start: Start::Connected,
        behaviour,
        instants: DUE,
        workers: workers.iter().map(|job| (*job, 0)).collect(),
        repeats: 0,
        left,
        trials: false,
        waves: false,
        rehearses: false,
    }
}

impl Scenario {
    /// Sets the clock of the first worker ahead by this number of seconds.
    fn skewed(mut self, skew: i64) -> Self {
        self.workers[0].1 = skew;
        self
    }

    fn at(self, instants: &'static [i64]) -> Self {
        Self { instants, ..self }
    }

    fn empty(self) -> Self {
        Self { start: Start::Empty, ..self }
    }

    fn appealable(self) -> Self {
        Self { start: Start::Appealable, ..self }
    }

    fn suspected(self) -> Self {
        Self { start: Start::Suspected, ..self }
    }

    fn repeated(self) -> Self {
        Self { repeats: 1, ..self }
    }

    fn waves(self) -> Self {
        Self { waves: true, ..self }
    }

    fn rehearses(self) -> Self {
        Self { rehearses: true, ..self }
    }

    fn trials(self) -> Self {
        Self { trials: true, ..self }
    }
}

/// Returns the configurations of every test run, which take a few seconds each.
#[must_use]
pub fn quick() -> Vec<Scenario> {
    let mut all = Vec::new();
    for behaviour in [Stays, Dies, DiesLater, Extended] {
        all.push(scenario("two sweeps and a caller", behaviour, &[Sweep, Sweep, Vend], BOTH));
        all.push(scenario("a sweep and a reconnect", behaviour, &[Sweep, Connect], BOTH).rehearses());
        all.push(scenario("two sweeps and a reseal", behaviour, &[Sweep, Sweep, Reseal], BOTH).rehearses());
        all.push(scenario("a token tried out", behaviour, &[Sweep, Sweep], BOTH).trials());
        all.push(scenario("a caller before it is due", behaviour, &[Vend, Sweep], ALL).at(EARLY));
    }
    all.extend([
        scenario("a sweep and a first exchange", Dies, &[Sweep, ConnectShort], BOTH),
        scenario("two sweeps and a first exchange", Dies, &[Sweep, Sweep, ConnectShort], NOTHING),
        scenario("an extension and a first exchange", Extended, &[Sweep, Sweep, ConnectShort], LOSS),
        scenario("a token tried out and a first exchange", Dies, &[Sweep, ConnectShort], NOTHING).trials(),
        scenario("a token tried out and a password", Dies, &[Sweep, Password, Doubt], NOTHING).trials(),
        scenario("two sweeps, clocks apart", Dies, &[Sweep, Sweep], BOTH).skewed(300),
        scenario("a token tried out beside a caller", Dies, &[Sweep, Vend, Doubt], NOTHING).trials(),
        scenario("first connect, deauthorized", Dies, &[Connect, Deauthorize], ALL).empty().repeated(),
        scenario("the same, clock ahead", Dies, &[Connect, Deauthorize], ALL).empty().skewed(300),
        scenario("the same, clock behind", Dies, &[Connect, Deauthorize], ALL).empty().skewed(-300),
        scenario("first exchange, deauthorized", Dies, &[ConnectShort, Sweep, Deauthorize], TROUBLE).empty(),
        scenario("reconnect, deauthorized", Dies, &[Connect, Deauthorize, Sweep], NOTHING),
        scenario("sweep, deauthorized", Dies, &[Sweep, Deauthorize], BOTH),
        scenario("first connect, disconnected", Dies, &[Connect, Disconnect], BOTH).empty(),
        scenario("sweep, reconnect, disconnected", Dies, &[Sweep, Connect, Disconnect], NOTHING),
        scenario("first connect, deleted", Dies, &[Connect, Delete, FinishDeletion], CRASH)
            .empty()
            .repeated(),
        scenario("reconnect, deleted", Dies, &[Connect, Delete], ALL).repeated(),
        scenario("sweep, deleted", Dies, &[Sweep, Delete, FinishDeletion], BOTH),
        scenario("two deletion requests", Dies, &[Connect, Delete, Delete], NOTHING),
        scenario("deauthorized twice", Dies, &[Connect, Deauthorize, Deauthorize], NOTHING).empty(),
        scenario("disconnected twice", Dies, &[Connect, Disconnect, Disconnect], NOTHING).empty(),
        scenario("two tabs", Stays, &[Connect, Connect], BOTH),
        scenario("two tabs, clocks apart", Stays, &[Connect, ConnectShort], LOSS).skewed(300),
        scenario("two tabs and a sweep", Stays, &[Connect, ConnectShort, Sweep], NOTHING),
        scenario("a consent to complete", Dies, &[ConnectShort, Sweep, Sweep], TROUBLE).empty(),
        scenario("a consent that is lost", Dies, &[ConnectShort, Sweep, Sweep], NOTHING).at(END),
        scenario("an import", Stays, &[Import, Connect], LOSS),
        scenario("an import and an end", Stays, &[Import, Deauthorize], LOSS),
        scenario("an import and an unknown end", Stays, &[Import, Deauthorize], LOSS).empty(),
        scenario("an import, disconnected", Stays, &[Import, Disconnect], LOSS),
        scenario("an import and a deletion", Stays, &[Import, Delete], LOSS),
        scenario("an import and a first exchange", Stays, &[Import, ConnectShort], LOSS),
        scenario("an import of an older token", Stays, &[Connect, Password, Doubt, Import], NOTHING)
            .at(&NOW[..1]),
        scenario("an import and an ended account", Stays, &[Password, Sweep, Import], NOTHING),
        scenario("a password", Dies, &[Password, Sweep, Sweep], LOSS).waves(),
        scenario("a password and a reconnect", Dies, &[Password, Sweep, Connect], LOSS).waves(),
        scenario("a wave and a first exchange", Dies, &[Sweep, ConnectShort], NOTHING)
            .suspected()
            .at(&APPEAL[..1])
            .waves(),
        scenario("a suspicion", DiesLater, &[Sweep, Sweep, Sweep], NOTHING).at(DAYS),
        scenario("a doubt", Dies, &[Doubt, Sweep, Vend], NOTHING).at(NOW),
        scenario("a doubt, and a password", Dies, &[Doubt, Password, Sweep], BOTH),
        scenario("a checkpoint", Dies, &[Checkpoint, Sweep, Sweep, Sweep], NOTHING).at(END),
        scenario("an appeal and a reconnect", Dies, &[Sweep, ConnectShort], BOTH).appealable().at(APPEAL),
        scenario("an appeal in vain and a reconnect", Dies, &[Checkpoint, Sweep, ConnectShort], NOTHING)
            .appealable()
            .at(APPEAL),
        scenario("an appeal and two sweeps", Dies, &[Sweep, Sweep, Deauthorize], LOSS)
            .appealable()
            .at(APPEAL),
        scenario("a lost consent and a reconnect", Dies, &[ConnectShort, Sweep, Connect], NOTHING)
            .at(END)
            .empty(),
    ]);
    all
}

/// Returns the configurations that take minutes.
#[must_use]
pub fn thorough() -> Vec<Scenario> {
    let mut all = Vec::new();
    for behaviour in [Stays, Dies, DiesLater, Extended] {
        all.push(scenario("two sweeps and a reconnect", behaviour, &[Sweep, Sweep, Connect], BOTH).trials());
        all.push(scenario("three sweeps", behaviour, &[Sweep, Sweep, Sweep], BOTH).at(DAYS));
    }
    all.extend([
        scenario("sweep, reconnect, deauthorized", Dies, &[Sweep, Connect, Deauthorize], ALL).repeated(),
        scenario("sweep, reconnect, deleted", Dies, &[Sweep, Connect, Delete, FinishDeletion], LOSS),
        scenario("first connect, deleted", Dies, &[Connect, Delete, FinishDeletion], ALL).empty().repeated(),
        scenario("two deletion requests", Dies, &[Connect, Delete, Delete], LOSS),
        scenario("a consent that is lost", Dies, &[ConnectShort, Sweep, Sweep], TROUBLE).at(END),
        scenario("sweep, reconnect, disconnected", Dies, &[Sweep, Connect, Disconnect], BOTH),
        scenario("two tabs and a sweep", Stays, &[Connect, Connect, Sweep], LOSS),
        scenario("consents and an end", Dies, &[ConnectShort, Sweep, Sweep, Deauthorize], TROUBLE),
        scenario("a password and a reconnect", Dies, &[Password, Sweep, Sweep, Connect], LOSS).waves(),
        scenario("a checkpoint", Dies, &[Checkpoint, Sweep, Sweep, Sweep], CRASH).at(END),
    ]);
    all
}
