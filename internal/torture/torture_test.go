//go:build linux

package torture_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/history"
)

// One round in the bounded run of `make test` is as long as one of a long run.
const (
	roundLength = 4500 * time.Millisecond

	alone = 250 * time.Millisecond // between faults of one kind
	mixed = 120 * time.Millisecond // of all kinds
)

// TestTorture makes as many rounds as there is time for: one with all faults
// mixed, then one with a single kind, and so on through all of them; every other
// time with a server that keeps its data.
func TestTorture(t *testing.T) {
	seed := *givenRun
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d -time %v -faults %q", seed, *length, *wanted)
	all := newSum()
	chosen := chosenFaults(t)
	for number := 1; all.faultTime < *length; number++ {
		if *givenOne != 0 {
			number = *givenOne
			*length = 0 // no other
		}
		p := planned(seed, number, chosen)
		all.faultTime += p.length
		t.Run(fmt.Sprintf("round %d, %v", number, p), func(t *testing.T) { newRound(t, p).run(all) })
		if t.Failed() {
			break // the first failure is the one to look at
		}
	}
	t.Logf("-seed %d:\n%v", seed, all)
}

func chosenFaults(t *testing.T) []fault {
	t.Helper()
	if *wanted == "" {
		return faults
	}
	var chosen []fault
	for name := range strings.SplitSeq(*wanted, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			var names []string
			for _, f := range faults {
				names = append(names, f.name)
			}
			t.Fatalf("-faults %s: there are %s", name, strings.Join(names, ","))
		}
		chosen = append(chosen, faults[i])
	}
	return chosen
}

// planned is the plan of a round: odd ones have all faults.
func planned(seed uint64, number int, chosen []fault) plan {
	p := plan{seed: seed, number: number, faults: chosen, length: roundLength, gap: mixed}
	if number%2 == 0 {
		i := number/2 - 1
		p.faults = []fault{chosen[i%len(chosen)]}
		p.durable = i/len(chosen)%2 == 0
		p.gap = alone
		return p
	}
	p.durable = number/2%2 == 1
	return p
}

// sum is what all rounds come to.
type sum struct {
	faultTime time.Duration
	rounds    int
	struck    map[string]int
	holds     map[string]int // by lock
	counts    history.Counts
	losses    int
	quiet     time.Duration // the longest
	longest   time.Duration // wait that succeeded

	pages, calls, ghosts, passed, left int
}

func newSum() *sum { return &sum{struck: make(map[string]int), holds: make(map[string]int)} }

func (s *sum) add(r *round, ops []history.Op) {
	s.rounds++
	for name, n := range r.struck {
		s.struck[name] += n
	}
	for _, o := range ops {
		s.holds[o.Lock]++
		if o.Asked > 0 {
			s.longest = max(s.longest, o.From-o.Asked)
		}
	}
	counts, quiet := r.storm.Sum()
	s.counts.Add(counts)
	s.losses += r.losses
	s.quiet = max(s.quiet, quiet)
}

func (s *sum) searched(v verdict) {
	s.pages++
	s.calls += v.calls
	s.ghosts += v.ghosts
	s.passed += v.passed
	if v.left {
		s.left++
	}
}

func (s *sum) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d rounds, %v of faults; %d losses of data; all quiet within %v after the last fault; longest wait %v\n",
		s.rounds, s.faultTime, s.losses, s.quiet.Round(time.Millisecond), s.longest.Round(time.Millisecond))
	fmt.Fprintf(&text, "holds: %v; of processes that were not killed: %+v\n", s.holds, s.counts)
	fmt.Fprintf(&text, "searched for an order: %d mutexes, %d calls, %d acquires of unknown end, %d that were passed on; not searched to the end: %d\n",
		s.pages, s.calls, s.ghosts, s.passed, s.left)
	for _, name := range slices.Sorted(maps.Keys(s.struck)) {
		fmt.Fprintf(&text, "%15s %5d times\n", name, s.struck[name])
	}
	return text.String()
}
