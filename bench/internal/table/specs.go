package table

import (
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// Those that wait for a lock in some way, by the table's order.
var (
	everybody = []string{
		Ours, "rueidislock", "redisson", "redisson-fair", "redsync", "bsm-1ms", "bsm-100ms", "bare", "publish",
	}
	most      = []string{Ours, "rueidislock", "redisson", "redsync", "bsm-1ms", "publish"}
	exclusive = []string{Ours, "rueidislock", "redisson", "redsync", "bsm-1ms", "bare"}
)

func uncontended() Spec {
	return Spec{
		Number: 1, Title: "Uncontended Lock and Release",
		About: "One goroutine, one key, nobody else. Times are of Lock and Release together.",
		Cases: []Case{{
			Name:      "1 goroutine",
			Job:       worker.Job{Work: worker.WorkLock, Processes: 1, Contenders: 1, Keys: 1, Whole: true},
			Libraries: exclusive, Length: plain, Measure: contended,
		}},
		Columns: []Column{
			{Head: "p50 µs", Metric: p50, Spread: true},
			{Head: "p99 µs", Metric: p99},
			{Head: "p50, Holdfast ÷ this", Metric: p50, Ratio: true, Spread: true},
			{Head: "commands sent", Metric: sent},
			{Head: "Redis calls", Metric: calls},
			{Head: "server µs in scripts", Metric: script},
		},
	}
}

func manyKeys() Spec {
	const contenders = 64
	return Spec{
		Number: 2, Title: "Many keys in parallel",
		About: fmt.Sprintf("%d goroutines in %d clients, each with a key of its own.", contenders, clients),
		Cases: []Case{{
			Name:      fmt.Sprintf("%d keys", contenders),
			Job:       worker.Job{Work: worker.WorkLock, Processes: clients, Contenders: contenders, Keys: contenders, Whole: true},
			Libraries: exclusive, Length: plain, Measure: contended,
		}},
		Columns: []Column{
			{Head: "cycles/s", Metric: rate, Spread: true},
			{Head: "cycles/s, Holdfast ÷ this", Metric: rate, Ratio: true, Spread: true},
			{Head: "p50 µs", Metric: p50},
			{Head: "p99 µs", Metric: p99},
			{Head: "commands sent", Metric: sent},
		},
	}
}

// Contenders are those of the table of the hot key.
var Contenders = []int{2, 32, 256, 1024}

// HotCase names a case of it.
func HotCase(contenders int, hold time.Duration) string {
	return fmt.Sprintf("%d contenders, %d ms held", contenders, hold.Milliseconds())
}

func hotKey() Spec {
	s := Spec{
		Number: 3, Title: "One hot key",
		About: fmt.Sprintf("All contenders want the same key, in %d clients (2 contenders: in 2), and want it "+
			"again as soon as they have released it. Waits that were not over when the window ended count for "+
			"the longest. Jain's index is taken over how often each contender got it: 1 is fair.", clients),
		Columns: []Column{
			{Head: "cycles/s", Metric: rate, Spread: true},
			{Head: "cycles/s, Holdfast ÷ this", Metric: rate, Ratio: true, Spread: true},
			{Head: "wait p50 ms", Metric: p50, Milli: true},
			{Head: "p99", Metric: p99, Milli: true},
			{Head: "longest", Metric: longest, Milli: true},
			{Head: "longest ÷ mean", Metric: toMean},
			{Head: "Jain", Metric: jain},
			{Head: "commands sent a cycle", Metric: sent},
			{Head: "Redis calls a cycle", Metric: calls},
			{Head: "server µs in scripts", Metric: script},
		},
	}
	for _, hold := range []time.Duration{0, 2 * time.Millisecond} {
		for _, n := range Contenders {
			c := Case{
				Name: HotCase(n, hold),
				Job: worker.Job{
					Work: worker.WorkLock, Processes: min(clients, n), Contenders: n, Keys: 1, Hold: hold,
				},
				Libraries: most, Length: turns(n, hold), Measure: contended,
			}
			if n == 32 {
				c.Libraries = everybody
			}
			s.Cases = append(s.Cases, c)
		}
	}
	return s
}

func handOver() Spec {
	return Spec{
		Number: 4, Title: "From a release to the next holder",
		About: "Two processes want the same key, hold it for 2 ms and pause for 1 ms. The time is from the call of Release to the " +
			"return of the other's Lock, by the clock that both share. The floor is a PUBLISH and its receipt " +
			"between the same two. Where the one that releases takes the lock again itself, nothing is counted.",
		Cases: []Case{{
			Name: "2 processes",
			Job: worker.Job{
				Work: worker.WorkLock, Processes: 2, Contenders: 2, Keys: 1,
				Hold: 2 * time.Millisecond, Pause: time.Millisecond, Trace: true,
			},
			Libraries: []string{Ours, "rueidislock", "redisson", "redsync", "bsm-1ms", "publish"},
			Length:    plain, Measure: handedOver,
		}},
		Columns: []Column{
			{Head: "p50 µs", Metric: p50, Spread: true},
			{Head: "p99 µs", Metric: p99},
			{Head: "longest µs", Metric: longest},
			{Head: "p50, Holdfast ÷ this", Metric: p50, Ratio: true, Spread: true},
			{Head: "hand-overs/s", Metric: rate},
		},
	}
}

func idle() Spec {
	return Spec{
		Number: 5, Title: "Idle waiters",
		About: fmt.Sprintf("1,000 goroutines in %d clients wait for a lock that is held all the time.", clients),
		Cases: []Case{{
			Name:      "1,000 waiters",
			Job:       worker.Job{Work: worker.WorkIdle, Processes: clients, Contenders: 1001, Keys: 1},
			Libraries: []string{Ours, "rueidislock", "redisson", "redsync", "bsm-1ms", "bsm-100ms"},
			Length:    fixed(2 * time.Second), Lead: 2 * time.Second, Measure: waiting,
		}},
		Columns: []Column{
			{Head: "commands/s", Metric: sentRate, Spread: true},
			{Head: "CPU of the clients, % of a core", Metric: cpu},
			{Head: "CPU of the server", Metric: serverC},
		},
	}
}

// Leases are those of the table of renewals.
var Leases = []int{1_000, 10_000, 100_000}

// LeaseCase names a case of it.
func LeaseCase(n int) string { return fmt.Sprintf("%d,000 leases", n/1000) }

func manyLeases() Spec {
	s := Spec{
		Number: 6, Title: "Held leases under renewal",
		About: "One process holds them all, TTL 30 s, each renewed every 10 s. The rounds are windows of 10 s " +
			"of one run, so that it lasts longer than the TTL (1,000 leases: one window). CPU is that of the renewals alone.",
		Columns: []Column{
			{Head: "commands/s", Metric: sentRate, Spread: true},
			{Head: "CPU of the client, % of a core", Metric: cpu, Spread: true},
			{Head: "CPU of the server", Metric: serverC},
			{Head: "bytes a lease", Metric: memory},
			{Head: "goroutines or threads", Metric: routines},
			{Head: "leases lost", Metric: lost},
		},
	}
	for _, n := range Leases {
		c := Case{
			Name:      LeaseCase(n),
			Job:       worker.Job{Work: worker.WorkLeases, Processes: 1, Leases: n},
			Libraries: []string{Ours, "rueidislock", "redisson", "bsm-renewed"},
			// As long as the interval of renewals, also in a quick run.
			Length:  func(time.Duration) time.Duration { return library.Renewal },
			Windows: true, Long: n != 10_000, Measure: held,
		}
		switch n {
		case 1_000:
			c.Few = 1 // only for the chart
		case 100_000:
			c.Libraries = []string{Ours}
		}
		s.Cases = append(s.Cases, c)
	}
	return s
}

func readers() Spec {
	const contenders, writers = 32, 5
	return Spec{
		Number: 7, Title: "Read-mostly rwlock",
		About: fmt.Sprintf("%d contenders in %d clients hold one lock for 1 ms each; %d %% of the cycles write.",
			contenders, clients, writers),
		Cases: []Case{{
			Name: fmt.Sprintf("%d contenders, %d %% writes", contenders, writers),
			Job: worker.Job{
				Work: worker.WorkRW, Processes: clients, Contenders: contenders, Keys: 1,
				Hold: time.Millisecond, Writes: writers,
			},
			Libraries: []string{Ours, "redisson"}, Length: plain, Measure: contended,
		}},
		Columns: []Column{
			{Head: "cycles/s", Metric: rate, Spread: true},
			{Head: "cycles/s, Holdfast ÷ this", Metric: rate, Ratio: true, Spread: true},
			{Head: "writes/s", Metric: writes},
			{Head: "reader's wait p50 ms", Metric: p50, Milli: true},
			{Head: "p99", Metric: p99, Milli: true},
			{Head: "writer's p99", Metric: write99, Milli: true},
			{Head: "longest of all", Metric: longest, Milli: true},
			{Head: "commands sent a cycle", Metric: sent},
			{Head: "server µs in scripts", Metric: script},
		},
	}
}

func permits() Spec {
	const contenders, limit = 32, 5
	return Spec{
		Number: 8, Title: "Semaphore of 5",
		About: fmt.Sprintf("%d contenders in %d clients hold one of %d permits for 2 ms.", contenders, clients, limit),
		Cases: []Case{{
			Name: fmt.Sprintf("%d contenders", contenders),
			Job: worker.Job{
				Work: worker.WorkSemaphore, Processes: clients, Contenders: contenders, Keys: 1,
				Hold: 2 * time.Millisecond, Limit: limit,
			},
			Libraries: []string{Ours, "redisson-semaphore", "redisson-permits"}, Length: plain, Measure: contended,
		}},
		Columns: []Column{
			{Head: "cycles/s", Metric: rate, Spread: true},
			{Head: "cycles/s, Holdfast ÷ this", Metric: rate, Ratio: true, Spread: true},
			{Head: "wait p50 ms", Metric: p50, Milli: true},
			{Head: "p99", Metric: p99, Milli: true},
			{Head: "longest", Metric: longest, Milli: true},
			{Head: "Jain", Metric: jain},
			{Head: "commands sent a cycle", Metric: sent},
			{Head: "server µs in scripts", Metric: script},
		},
	}
}

func oneProcess() Spec {
	const contenders = 64
	return Spec{
		Number: 9, Title: "One process",
		About: fmt.Sprintf("%d goroutines of one process want the same key.", contenders),
		Cases: []Case{{
			Name:      fmt.Sprintf("%d goroutines", contenders),
			Job:       worker.Job{Work: worker.WorkLock, Processes: 1, Contenders: contenders, Keys: 1},
			Libraries: exclusive, Length: plain, Measure: contended,
		}},
		Columns: []Column{
			{Head: "hand-overs/s", Metric: rate, Spread: true},
			{Head: "hand-overs/s, Holdfast ÷ this", Metric: rate, Ratio: true, Spread: true},
			{Head: "wait p50 ms", Metric: p50, Milli: true},
			{Head: "p99", Metric: p99, Milli: true},
			{Head: "longest", Metric: longest, Milli: true},
			{Head: "longest ÷ mean", Metric: toMean},
			{Head: "Jain", Metric: jain},
			{Head: "commands sent a cycle", Metric: sent},
		},
	}
}
