package table_test

import (
	"math"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/table"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

func outcome(t *testing.T, workers ...worker.Result) *fleet.Outcome {
	t.Helper()
	l, err := library.ByName(table.Ours)
	if err != nil {
		t.Fatal(err)
	}
	return &fleet.Outcome{
		Library: l, Length: 2 * time.Second, Workers: workers,
		Server: fleet.Counters{
			Calls: map[string]int64{"evalsha": 16, "get": 24},
			Micro: map[string]int64{"evalsha": 80, "get": 10},
			CPU:   0.5,
		},
	}
}

// measure is that of a case of the table.
func measure(t *testing.T, number int) func(*fleet.Outcome) map[string]float64 {
	t.Helper()
	for _, s := range table.All() {
		if s.Number == number {
			return s.Cases[0].Measure
		}
	}
	t.Fatalf("there is no table %d", number)
	return nil
}

func expect(t *testing.T, found, want map[string]float64) {
	t.Helper()
	for metric, v := range want {
		if math.Abs(found[metric]-v) > 1e-9 {
			t.Errorf("%s = %v, want %v", metric, found[metric], v)
		}
	}
}

func TestContended(t *testing.T) {
	ms := int64(time.Millisecond)
	found := measure(t, 3)(outcome(t,
		worker.Result{Counts: []int64{3, 1}, Times: []int64{ms, ms, 2 * ms, 4 * ms}, CPU: int64(time.Second)},
		worker.Result{Counts: []int64{4, 0}, Times: []int64{ms, ms, 3 * ms, 3 * ms}, Pending: []int64{20 * ms}},
	))
	expect(t, found, map[string]float64{
		"rate": 4, "p50": 1000, "p99": 4000, "max": 20_000, "max/mean": 10, "jain": 64. / (4 * 26),
		"sent": 2, "calls": 5, "script": 10, "sent/s": 8, "cpu": 50, "servercpu": 25,
	})
}

// A hand-over is from the call of a release to the next hold of another contender.
func TestHandedOver(t *testing.T) {
	us := int64(time.Microsecond)
	found := measure(t, 4)(outcome(t,
		worker.Result{ // two contenders, as in a JVM
			Counts:   []int64{2, 1},
			Acquired: []int64{100 * us, 500 * us, 300 * us},
			Released: []int64{200 * us, 600 * us, 400 * us},
		},
		worker.Result{
			Counts:   []int64{2},
			Acquired: []int64{650 * us, 800 * us},
			Released: []int64{700 * us, 900 * us}, // and takes it again itself: not counted
		},
	))
	expect(t, found, map[string]float64{"p50": 100, "max": 100, "p99": 100, "rate": 1.5})
}

func TestSpecs(t *testing.T) {
	for i, s := range table.All() {
		if s.Number != i+1 {
			t.Errorf("table %d stands at place %d", s.Number, i+1)
		}
		seen := map[string]bool{}
		for _, c := range s.Cases {
			if seen[c.Name] {
				t.Errorf("table %d has %q twice", s.Number, c.Name)
			}
			seen[c.Name] = true
			if c.Libraries[0] != table.Ours {
				t.Errorf("table %d, %s: this project is not the first", s.Number, c.Name)
			}
			for _, name := range c.Libraries {
				if _, err := library.ByName(name); err != nil {
					t.Errorf("table %d: %v", s.Number, err)
				}
			}
			if d := c.Length(time.Second); d < time.Second || d > 10*time.Second {
				t.Errorf("table %d, %s: a window of %v", s.Number, c.Name, d)
			}
		}
	}
}

// Of two goals it says which; and where a part was not measured, nothing is met.
func TestVerdict(t *testing.T) {
	both := table.Reach{
		Met:  func(v float64) bool { return v >= 2 },
		Then: func(v float64) bool { return v >= 8 },
	}
	for v, want := range map[float64]string{1: "no", 3: "the first", 9: "yes"} {
		if got := both.Verdict(v); got != want {
			t.Errorf("Verdict(%v) = %q, want %q", v, got, want)
		}
	}
	r, tab := &results.Results{}, &results.Table{Number: 6}
	for _, n := range table.Leases[:2] { // as a quick run leaves the most out
		tab.Add(0, table.LeaseCase(n), table.Ours, map[string]float64{"goroutines": 5})
	}
	r.Replace(tab)
	for _, reach := range table.Reaches(r) {
		if reach.Goal == "constant" && !math.IsNaN(reach.Got[0]) {
			t.Errorf("constant without its last case: %v", reach.Got)
		}
	}
}

// Every number to reach is read from where its table puts it.
func TestReaches(t *testing.T) {
	r := &results.Results{}
	for _, s := range table.All() {
		tab := &results.Table{Number: s.Number}
		for _, c := range s.Cases {
			for i, name := range c.Libraries {
				tab.Add(0, c.Name, name, map[string]float64{
					"p50": 1, "rate": 10 / float64(i+1), "sent": 2, "jain": 0.5, "max/mean": 6,
					"sent/s": 7, "lost": 0, "cpu": 1, "goroutines": 5, "calls": 9,
				})
			}
		}
		r.Replace(tab)
	}
	met := 0
	all := table.Reaches(r)
	for _, reach := range all {
		if len(reach.Got) != 1 || math.IsNaN(reach.Got[0]) {
			t.Errorf("%s: not found", reach.What)
			continue
		}
		if reach.Met(reach.Got[0]) {
			met++
		}
	}
	// Not met: against rueidislock and with one process, where ours is twice as fast
	// here, Jain's index and the longest wait.
	if len(all) != 14 || met != 10 {
		t.Errorf("%d of %d met, want 10 of 14", met, len(all))
	}
	handOvers, commands, renewals := table.Lines(r)
	if len(handOvers[table.Ours]) != 4 || len(commands[table.Ours]) != 4 || len(renewals[table.Ours]) != 3 {
		t.Errorf("lines of %d, %d and %d points", len(handOvers[table.Ours]), len(commands[table.Ours]), len(renewals[table.Ours]))
	}
}
