// Package watchdog is the scheduler behind a client's leases and waiters: one
// goroutine that knows when each of them is due, and a few that talk to Redis
// for it. However many leases a client holds, and however many nodes of a cluster
// hang, the number of goroutines has a small bound.
//
// The two sides are apart on purpose. The scheduling goroutine ends a lease
// whose deadline has come; it never does I/O, so a Redis that hangs cannot keep
// it from telling a holder that its lease is over. What is due together for one node
// goes out as one pipeline, each pipeline bounded by the most urgent of its calls,
// and a pipeline that hangs leaves the other senders free.
//
// A lock package needs nothing of this package; it is driven by the client.
package watchdog

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

// Task is what an entry of the schedule does when it is due.
type Task interface {
	// Tick is called by the scheduling goroutine and must not block. It returns
	// what to send now, if anything, and sets its next time with Schedule.
	Tick(now time.Time) (Send, bool)
}

// Send is a script call that somebody waits for in the background.
type Send struct {
	Call  *lua.Call
	Limit time.Duration   // how long it may take; the call then counts as unanswered
	Done  func(*lua.Call) // called once, by a sending goroutine, answered or not
}

// Entry is a task's place in the schedule, kept inside what is scheduled.
type Entry struct {
	Task  Task
	due   time.Time
	index int // in the heap, plus one; 0: not scheduled
}

// Sender sends calls as one pipeline and leaves each answer in its call.
type Sender func(ctx context.Context, calls []*lua.Call)

// Watchdog schedules entries and sends their calls. Safe for concurrent use.
type Watchdog struct {
	sender sender

	mu     sync.Mutex
	queue  entries
	timer  *time.Timer
	armed  time.Time // when timer fires; zero: it does not
	closed bool
	stop   chan struct{}
	done   chan struct{}
}

// New starts the scheduling goroutine; Close ends it. The calls are sent with
// contexts derived from ctx. node names the node that a call goes to: a pipeline
// has calls of one, so that a node that hangs keeps nobody else's back. It must not
// do I/O, and may err: its answer only decides what goes together.
func New(ctx context.Context, send Sender, node func(*lua.Call) string) *Watchdog {
	w := &Watchdog{
		sender: sender{ctx: ctx, send: send, node: node, lines: map[string]*line{}},
		timer:  time.NewTimer(time.Hour),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	w.timer.Stop()
	go w.run()
	return w
}

// Schedule sets when the entry is next due, instead of what was set before.
// After Close it does nothing.
func (w *Watchdog) Schedule(e *Entry, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	e.due = due
	if e.index == 0 {
		heap.Push(&w.queue, e)
	} else {
		heap.Fix(&w.queue, e.index-1)
	}
	w.arm()
}

// Cancel takes the entry out of the schedule. A Tick of it may still be under way.
func (w *Watchdog) Cancel(e *Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The timer stays as it is: firing once for nothing is cheaper than
	// setting it anew on each Release.
	if e.index > 0 {
		heap.Remove(&w.queue, e.index-1)
	}
}

// Send sends at once, together with what else is waiting to be sent. After
// Close the call fails with the error of the context given to New.
func (w *Watchdog) Send(s Send) { w.sender.add([]Send{s}) }

// Close stops the schedule, then waits until ctx ends or all calls under way
// are over. It returns ctx.Err() in the first case; the rest then ends by
// itself, at its limits. Calling it again waits again.
func (w *Watchdog) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		w.timer.Stop()
		close(w.stop)
	}
	w.mu.Unlock()
	select {
	case <-w.done: // only then is it known that no last Tick adds a call
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-w.sender.idle():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Watchdog) run() {
	defer close(w.done)
	for {
		select {
		case <-w.timer.C:
			w.tick()
		case <-w.stop:
			return
		}
	}
}

// tick runs every entry that is due. The entries run without w.mu, since they
// take locks of their own and schedule themselves anew.
func (w *Watchdog) tick() {
	now := time.Now()
	var sends []Send
	for _, e := range w.takeDue(now) {
		if s, ok := e.Task.Tick(now); ok {
			sends = append(sends, s)
		}
	}
	w.sender.add(sends)
}

func (w *Watchdog) takeDue(now time.Time) []*Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*Entry
	for len(w.queue) > 0 && !w.queue[0].due.After(now) {
		due = append(due, heap.Pop(&w.queue).(*Entry)) //nolint:forcetypeassert,errcheck // the heap holds nothing else
	}
	w.armed = time.Time{}
	w.arm()
	return due
}

// arm sets the timer for the first entry, unless it already fires by then: a
// lock that is taken and released in a loop would set it each time.
func (w *Watchdog) arm() {
	if len(w.queue) == 0 {
		return
	}
	first := w.queue[0].due
	if !w.armed.IsZero() && !w.armed.After(first) {
		return
	}
	w.armed = first
	w.timer.Reset(time.Until(first))
}

// entries is a heap by due time; each entry knows its place.
//
//nolint:recvcheck // container/heap wants both
type entries []*Entry

func (q entries) Len() int           { return len(q) }
func (q entries) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q entries) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

func (q *entries) Push(x any) {
	e := x.(*Entry) //nolint:forcetypeassert,errcheck // the heap holds nothing else
	*q = append(*q, e)
	e.index = len(*q)
}

func (q *entries) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.index = 0
	return e
}
