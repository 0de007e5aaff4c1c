package table

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/bench/internal/results"
	"github.com/holdfast-go/holdfast/bench/internal/stat"
)

// Reach is one of the numbers that the design sets out to reach.
type Reach struct {
	What string
	Goal string
	// Got are the rounds of what was measured.
	Got []float64
	// Word is what was measured, if it is more than one number.
	Word string
	Met  func(median float64) bool
	// Then is the second goal, of those that have one; nil: there is none.
	Then func(median float64) bool
}

// Verdict says which goals a median meets.
func (r Reach) Verdict(median float64) string {
	switch {
	case !r.Met(median):
		return "no"
	case r.Then != nil && !r.Then(median):
		return "the first"
	default:
		return "yes"
	}
}

func atMost(limit float64) func(float64) bool  { return func(v float64) bool { return v <= limit } }
func atLeast(limit float64) func(float64) bool { return func(v float64) bool { return v >= limit } }

// Reaches compares what was measured with docs/design.md.
func Reaches(r *results.Results) []Reach {
	var all []Reach
	for _, part := range []func(*results.Results) []Reach{alone, crowded, quiet, single} {
		all = append(all, part(r)...)
	}
	return all
}

func alone(r *results.Results) []Reach {
	t, kase := r.Table(1), "1 goroutine"
	return []Reach{{
		What: "commands that a client sends for an uncontended Lock and Release", Goal: "2",
		Got: t.Get(kase, Ours, sent), Met: atMost(2.01), // a PING now and then
	}, {
		What: "its p50 against bsm/redislock", Goal: "≤ 1.1 ×",
		Got: stat.Ratios(t.Get(kase, Ours, p50), t.Get(kase, "bsm-1ms", p50)), Met: atMost(1.1),
	}}
}

func crowded(r *results.Results) []Reach {
	t, kase := r.Table(3), HotCase(32, 0)
	ours := t.Get(kase, Ours, rate)
	all := []Reach{}
	for _, other := range []struct{ library, title string }{{"rueidislock", "rueidislock"}, {"redisson", "Redisson"}} {
		all = append(all, Reach{
			What: "32 goroutines, 8 clients, one key: hand-overs/s against " + other.title,
			Goal: "≥ 2.5 ×; with local hand-over ≥ 8 ×",
			Got:  stat.Ratios(ours, t.Get(kase, other.library, rate)), Met: atLeast(2.5), Then: atLeast(8),
		})
	}
	all = append(all, Reach{
		What: "the same: Jain's index", Goal: "≥ 0.99", Got: t.Get(kase, Ours, jain), Met: atLeast(0.99),
	}, Reach{
		What: "the same: longest ÷ mean wait", Goal: "≤ 5", Got: t.Get(kase, Ours, toMean), Met: atMost(5),
	})
	for _, n := range []int{32, 1024} {
		all = append(all, Reach{
			What: fmt.Sprintf("commands sent a contended cycle, %d waiters", n), Goal: "≤ 2.2",
			Got: t.Get(HotCase(n, 0), Ours, sent), Met: atMost(2.2),
		})
	}
	h := r.Table(4)
	return append(all, Reach{
		What: "release → next holder running, against a bare PUBLISH → receive", Goal: "≤ 2 × p50",
		Got: stat.Ratios(h.Get("2 processes", Ours, p50), h.Get("2 processes", "publish", p50)), Met: atMost(2),
	})
}

func quiet(r *results.Results) []Reach {
	t := r.Table(6)
	kase := LeaseCase(10_000)
	var words []string
	var counts []float64
	for _, n := range Leases {
		v := t.Median(LeaseCase(n), Ours, routines)
		words, counts = append(words, fmt.Sprintf("%.0f", v)), append(counts, v)
	}
	grown := []float64{slices.Max(counts) - slices.Min(counts)} // NaN, not measured, if one of them is
	return []Reach{{
		What: "1,000 goroutines waiting on one held lock, commands/s", Goal: "≤ 20",
		Got: r.Table(5).Get("1,000 waiters", Ours, sentRate), Met: atMost(20),
	}, {
		What: "goroutines with 1,000, 10,000 and 100,000 leases", Goal: "constant", Word: strings.Join(words, ", "),
		Got: grown, Met: atMost(2), // senders come and go
	}, {
		What: "10,000 leases with TTL 30 s: renewals lost", Goal: "0",
		Got: t.Get(kase, Ours, lost), Met: atMost(0),
	}, {
		What: "the same: CPU of the client, % of a core", Goal: "≤ 5",
		Got: t.Get(kase, Ours, cpu), Met: atMost(5),
	}}
}

func single(r *results.Results) []Reach {
	t, kase := r.Table(9), "64 goroutines"
	ours := t.Get(kase, Ours, rate)
	best := make([]float64, len(ours))
	for _, other := range []string{"rueidislock", "redisson", "redsync", "bsm-1ms"} {
		for i, v := range t.Get(kase, other, rate) {
			if i < len(best) && v > best[i] {
				best[i] = v
			}
		}
	}
	return []Reach{{
		What: "64 goroutines of one process on one key: hand-overs/s against the best other library",
		Goal: "≥ 5 ×, then 20 ×", Got: stat.Ratios(ours, best), Met: atLeast(5), Then: atLeast(20),
	}}
}

// Lines are the plots of how cost grows.
func Lines(r *results.Results) (handOvers, commands, renewals map[string][]Point) {
	handOvers, commands, renewals = map[string][]Point{}, map[string][]Point{}, map[string][]Point{}
	for _, library := range most {
		for _, n := range Contenders {
			t, kase := r.Table(3), HotCase(n, 0)
			if t.Has(kase, library) {
				handOvers[library] = append(handOvers[library], Point{float64(n), t.Median(kase, library, rate)})
				commands[library] = append(commands[library], Point{float64(n), t.Median(kase, library, calls)})
			}
		}
	}
	for _, c := range manyLeases().Cases {
		for _, library := range c.Libraries {
			if t := r.Table(6); t.Has(c.Name, library) {
				p := Point{float64(c.Job.Leases), t.Median(c.Name, library, cpu)}
				renewals[library] = append(renewals[library], p)
			}
		}
	}
	return handOvers, commands, renewals
}

// Point is one of a line.
type Point struct{ X, Y float64 }
