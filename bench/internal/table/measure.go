package table

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/stat"
)

// What is measured. Times are in microseconds.
const (
	rate     = "rate"      // cycles a second
	p50      = "p50"       // of a wait, or of Acquire and Release together
	p99      = "p99"       //
	longest  = "max"       // waits that were not over when the window ended included
	toMean   = "max/mean"  // longest by mean
	jain     = "jain"      // over the contenders' counts
	sent     = "sent"      // commands that clients sent, a cycle
	calls    = "calls"     // those and what scripts called, a cycle
	script   = "script"    // of the server in scripts, a cycle
	sentRate = "sent/s"    // commands that clients sent, a second
	cpu      = "cpu"       // of the clients, in per cent of a core
	serverC  = "servercpu" // of the server
	memory   = "memory"    // bytes a lease
	routines = "goroutines"
	lost     = "lost" // leases
	writes   = "writes"
	write99  = "write99"
	writeMax = "writemax"
)

// contended reads off a run what can be known of contenders.
func contended(o *fleet.Outcome) map[string]float64 {
	var counts, times, writeTimes, pending []float64
	var wrote int64
	for _, r := range o.Workers {
		counts = append(counts, floats(r.Counts, 1)...)
		times = append(times, floats(r.Times, 1e3)...)
		writeTimes = append(writeTimes, floats(r.WriteTimes, 1e3)...)
		pending = append(pending, floats(r.Pending, 1e3)...)
		wrote += r.Writes
	}
	cycles := 0.0
	for _, c := range counts {
		cycles += c
	}
	both := slices.Concat(times, writeTimes)
	longestWait := stat.Max(slices.Concat(both, pending))
	found := map[string]float64{
		rate: cycles / o.Length.Seconds(),
		p50:  stat.Percentile(times, 50), p99: stat.Percentile(times, 99),
		longest: longestWait, toMean: longestWait / stat.Mean(both),
		jain: stat.Jain(counts),
	}
	if len(writeTimes) > 0 {
		found[writes] = float64(wrote) / o.Length.Seconds()
		found[write99] = stat.Percentile(writeTimes, 99)
		found[writeMax] = stat.Max(writeTimes)
	}
	addServer(found, o, cycles)
	return found
}

// addServer reads off what the server counted.
func addServer(found map[string]float64, o *fleet.Outcome, cycles float64) {
	sentAll := float64(o.Library.Sent(o.Server.Calls, int64(cycles)))
	found[sentRate] = sentAll / o.Length.Seconds()
	found[serverC] = 100 * o.Server.CPU / o.Length.Seconds()
	found[cpu] = 100 * clientCPU(o).Seconds() / o.Length.Seconds()
	if cycles > 0 {
		found[sent] = sentAll / cycles
		found[calls] = float64(o.Server.Total()) / cycles
		found[script] = float64(o.Server.Scripts()) / cycles
	}
}

func clientCPU(o *fleet.Outcome) time.Duration {
	var total time.Duration
	for _, r := range o.Workers {
		total += time.Duration(r.CPU)
	}
	return total
}

// held reads off a run what leases cost.
func held(o *fleet.Outcome) map[string]float64 {
	found := map[string]float64{}
	addServer(found, o, 0)
	for _, r := range o.Workers {
		found[memory] += float64(r.Memory) / float64(o.Job.Leases)
		found[routines] += float64(r.Goroutines)
		found[lost] += float64(r.Lost)
	}
	return found
}

// waiting reads off a run what waiters cost while nothing happens.
func waiting(o *fleet.Outcome) map[string]float64 {
	found := map[string]float64{}
	addServer(found, o, 0)
	return found
}

// A span is one hold of a contender.
type span struct {
	contender          int
	acquired, released int64
}

// handedOver reads off traces how long it took from the call of a release until
// another contender ran with the lock.
func handedOver(o *fleet.Outcome) map[string]float64 {
	var spans []span
	contender := 0
	for _, r := range o.Workers {
		at := 0
		for _, n := range r.Counts { // the traces of contenders follow each other
			for range n {
				spans = append(spans, span{contender, r.Acquired[at], r.Released[at]})
				at++
			}
			contender++
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.acquired, b.acquired) })
	var took []float64
	for i := 1; i < len(spans); i++ {
		if before := spans[i-1]; before.contender != spans[i].contender {
			took = append(took, float64(spans[i].acquired-before.released)/1e3)
		}
	}
	found := contended(o)
	found[p50], found[p99], found[longest] = stat.Percentile(took, 50), stat.Percentile(took, 99), stat.Max(took)
	found[rate] = float64(len(took)) / o.Length.Seconds()
	if len(took) == 0 {
		found[p50], found[p99], found[longest] = math.NaN(), math.NaN(), math.NaN()
	}
	return found
}

func floats(values []int64, unit float64) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = float64(v) / unit
	}
	return all
}
