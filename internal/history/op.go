// Package history records what several processes believed to hold, and when, and
// checks that their beliefs can all be true. It also makes such histories: of
// processes that lock at random and are killed and stopped meanwhile.
//
// An [Op] is one hold as its own process saw it, from when its acquire returned
// until its release was called, or its deadline, whichever was earlier. All times
// are CLOCK_MONOTONIC, which the processes of a machine have in common. So if two
// of those intervals overlap, two holders did believe in their leases at once: a
// check needs no model of the lock and no search, and cannot be wrong about a
// history that it refuses.
package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Op is one hold.
type Op struct {
	Process string
	Number  int    // within its process
	Lock    string // which, in a history of several
	Owner   string // holds of one owner do not exclude each other; the rest of the world's do
	Shared  bool   // others may have the same owner
	Turns   bool   // its process has turns: a place may have been another's before
	ID      string // of the lease
	What    string // was asked for

	Weight, Limit, Token int64

	TTL      time.Duration // of the lease; 0: it does not matter
	Asked    time.Duration // the acquire was called
	From     time.Duration // it had returned
	To       time.Duration // the hold was over, for its holder
	Deadline time.Duration // of the lease, as far as it is known
	End      string        // why it was over
}

func (o Op) String() string {
	return fmt.Sprintf("%s#%d of %s (%q, weight %d of %d, token %d, %s)",
		o.Process, o.Number, o.Owner, o.What, o.Weight, o.Limit, o.Token, o.End)
}

// lasted tells whether there was an instant at which it was held. A process that
// was stopped while its acquire returned finds that its deadline has passed.
func (o Op) lasted() bool { return o.From < o.To }

// excludes tells whether the two can not be held together. Where limits differ
// the larger one decides.
func (o Op) excludes(p Op) bool {
	return o.Owner != p.Owner && o.Weight+p.Weight > max(o.Limit, p.Limit)
}

// Note is something else that happened.
type Note struct {
	At            time.Duration
	Process, Text string
}

type name struct {
	process string
	number  int
}

// Recorder collects a history. It is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	open  map[name]Op
	ended []Op
	begun map[string]int // how many, by What
	notes []Note
	err   error
	faults
}

// Begin records that a hold began. What it holds of To and End is ignored.
func (r *Recorder) Begin(o Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open, r.begun = make(map[name]Op), make(map[string]int)
	}
	r.begun[o.What]++
	n := name{o.Process, o.Number}
	if _, twice := r.open[n]; twice {
		r.err = errors.Join(r.err, fmt.Errorf("%s#%d begins twice", o.Process, o.Number))
	}
	r.open[n] = o
}

// Begun is how many holds that were asked for so have begun.
func (r *Recorder) Begun(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun[what]
}

// End records that a hold was over at that time. deadline is the lease's last.
func (r *Recorder) End(process string, number int, at, deadline time.Duration, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := name{process, number}
	o, ok := r.open[n]
	if !ok {
		r.err = errors.Join(r.err, fmt.Errorf("%s#%d ends, but did not begin", process, number))
		return
	}
	delete(r.open, n)
	o.Deadline = deadline
	r.end(o, at, why)
}

// Killed records that a process died at that time or later, and with it what it
// held: at the last deadline that is known, if that was earlier.
func (r *Recorder) Killed(process string, at time.Duration) {
	r.Note(at, process, "killed")
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, o := range r.open {
		if n.process == process {
			delete(r.open, n)
			r.end(o, at, "killed")
		}
	}
}

// end is called with r.mu.
func (r *Recorder) end(o Op, at time.Duration, why string) {
	o.To, o.End = min(at, o.Deadline), why
	r.ended = append(r.ended, o)
}

// Note records something else, for the timeline.
func (r *Recorder) Note(at time.Duration, process, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, Note{at, process, text})
}

// Ops is the history in the order of From. The error says what cannot be true of
// any: a hold that is not over, for one.
func (r *Recorder) Ops() ([]Op, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	for n := range r.open {
		err = errors.Join(err, fmt.Errorf("%s#%d is not over", n.process, n.number))
	}
	return inOrder(r.ended), err
}

// Notes are the notes so far.
func (r *Recorder) Notes() []Note {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes)
}

func inOrder(ops []Op) []Op {
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b Op) int { return cmp.Compare(a.From, b.From) })
	return ops
}
