// Package table says what is run for each table of the page, and what is read off it.
package table

import (
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/fleet"
	"github.com/holdfast-go/holdfast/bench/internal/worker"
)

// Ours is the library that the others are compared with.
const Ours = "holdfast"

// Spec is one table of the page.
type Spec struct {
	Number  int
	Title   string
	About   string // what the work is, and how to read it
	Cases   []Case
	Columns []Column
}

// Case is one piece of work, done by several libraries.
type Case struct {
	Name      string
	Job       worker.Job
	Libraries []string
	Length    Length
	Lead      time.Duration // before the first window; 0: a short warm-up
	// Windows: the rounds are windows of one run, since what is measured needs long
	// to set up and changes little.
	Windows bool
	Few     int  // rounds at most; 0: as many as are asked for
	Long    bool // left out of a quick run
	Measure func(*fleet.Outcome) map[string]float64
}

// Length is how long a window is, by how long those of plain throughput are.
type Length func(window time.Duration) time.Duration

// Column is one quantity of a table.
type Column struct {
	Head   string
	Metric string
	Spread bool // tell the lowest and the highest round, too
	Ratio  bool // Holdfast's divided by that of the row, round by round
	Milli  bool // times in milliseconds
}

// All are the tables in order.
func All() []Spec {
	return []Spec{
		uncontended(), manyKeys(), hotKey(), handOver(), idle(),
		manyLeases(), readers(), permits(), oneProcess(),
	}
}

// clients is how many processes compete for a lock.
const clients = 8

// plain is the length of a window of throughput.
func plain(window time.Duration) time.Duration { return window }

// turns makes a window long enough for some turns of all contenders, or their counts
// say nothing about fairness.
func turns(contenders int, hold time.Duration) Length {
	return func(window time.Duration) time.Duration {
		if hold == 0 {
			return window
		}
		const n, handOver = 2.5, 200 * time.Microsecond
		need := time.Duration(n * float64(contenders) * float64(hold+handOver))
		return max(window, min(need, 4*window))
	}
}

// fixed is a length that depends on what is measured: a tenth of it in a quick run.
func fixed(d time.Duration) Length {
	return func(window time.Duration) time.Duration { return max(min(d, 10*window), window) }
}
