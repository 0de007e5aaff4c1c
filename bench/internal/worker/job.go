// Package worker is the process that does the work of one client: it opens a
// library, waits for the word, and tells what it measured. The bench starts several
// of them, so that they share nothing but Redis. The JVM of Redisson speaks the same
// lines.
package worker

import "time"

// What a job may be.
const (
	WorkLock      = "lock"      // acquire, hold, release, again and again
	WorkRW        = "rwlock"    // the same with readers and some writers
	WorkSemaphore = "semaphore" // the same with permits
	WorkIdle      = "idle"      // one holds all the time, the others wait
	WorkLeases    = "leases"    // hold many, and have them renewed
)

// Job is what a worker has to do. It is sent as one line of flat JSON, since the
// JVM reads it without a library.
type Job struct {
	Library    string
	Addr       string
	Work       string
	Process    int // this one, of so many
	Processes  int
	Contenders int           // of all processes: number i belongs to process i % Processes
	Keys       int           // contender i uses key i % Keys
	Hold       time.Duration // in nanoseconds, as all times here
	Pause      time.Duration // after each release
	Writes     int           // per cent of the cycles of WorkRW that write
	Limit      int           // permits of WorkSemaphore
	Leases     int           // of WorkLeases
	Whole      bool          // Times are of Acquire and Release together, else of the wait
	Trace      bool          // tell when each hold began and ended
	Profile    string        // directory for a CPU and an allocation profile; empty: none
}

// Window is when to measure, in nanoseconds of the wall clock, which all processes
// of a machine have in common. The contenders begin as soon as they are told.
type Window struct {
	Begin, End int64
}

// Result is what one worker found in one window.
type Result struct {
	Counts     []int64 // cycles that ended in the window, by contender
	Writes     int64   // of them, those that wrote
	Times      []int64 // of each, see Job.Whole
	WriteTimes []int64 // of those that wrote, which are not in Times
	Pending    []int64 // for how long those waited that still did when the window ended
	Acquired   []int64 // with Trace: when each hold of the window began and ended
	Released   []int64
	Failures   int64
	Failure    string // the first

	// Of the process.
	CPU        int64 // time that it used in the window
	Goroutines int64 // threads, of a JVM
	Memory     int64 // bytes that the leases of WorkLeases take
	Lost       int64 // leases of WorkLeases that are held no more
}
