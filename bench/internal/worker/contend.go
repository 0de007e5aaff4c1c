package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/library"
)

// grace is how long contenders may take to notice that the window is over. One that
// takes longer is reported as waiting: a library may leave a waiter asleep.
const grace = time.Second

// contender acquires, holds and releases until the window ends.
type contender struct {
	job        Job
	read       library.Lock // or the only one
	write      library.Lock // nil if there are no writers
	random     *rand.Rand
	begin, end time.Time

	mu      sync.Mutex // the report is made also while a contender is stuck
	since   time.Time  // when the wait began that it is in; zero: in none
	result  Result
	counted int64
}

// contend lets the contenders of this process work until end.
func (w *worker) contend(ctx context.Context, begin, end time.Time) Result {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	var all []*contender
	for i := w.Process; i < w.Contenders; i += w.Processes {
		all = append(all, w.contender(i, begin, end))
	}
	var working sync.WaitGroup
	for i, c := range all {
		if w.Work == WorkIdle && w.Process == 0 && i == 0 {
			continue // it holds what the others wait for
		}
		working.Go(func() { c.run(ctx) })
	}
	done := make(chan struct{})
	go func() {
		working.Wait()
		close(done)
	}()
	late := time.NewTimer(time.Until(end) + grace)
	defer late.Stop()
	select {
	case <-done:
		sleepUntil(end) // if all failed at once, or there are none
	case <-late.C:
	}
	var total Result
	for _, c := range all {
		c.addTo(&total)
	}
	return total
}

func (w *worker) contender(number int, begin, end time.Time) *contender {
	c := &contender{
		job: w.Job, begin: begin, end: end,
		random: rand.New(rand.NewPCG(1, uint64(number))), //nolint:gosec // the same work each time
	}
	name := key(number % max(w.Keys, 1))
	others, _ := w.locker.(library.Others)
	switch w.Work {
	case WorkRW:
		c.read, c.write = others.Reader(name), others.Writer(name)
	case WorkSemaphore:
		c.read = others.Permit(name, int64(w.Limit))
	default:
		c.read = w.locker.Lock(name)
	}
	return c
}

func (c *contender) run(ctx context.Context) {
	for time.Now().Before(c.end) {
		if err := c.cycle(ctx); err != nil {
			if !time.Now().Before(c.end) {
				return // the wait was over with the window
			}
			c.failed(err)
			time.Sleep(time.Millisecond) // a failure that repeats must not take the processor
		}
	}
}

// cycle acquires, holds and releases once.
func (c *contender) cycle(ctx context.Context) error {
	lock, writes := c.read, false
	if c.write != nil && c.random.IntN(100) < c.job.Writes {
		lock, writes = c.write, true
	}
	began := time.Now()
	c.setWait(began)
	held, err := lock.Acquire(ctx)
	if err != nil {
		return err // still waiting, for the report
	}
	acquired := time.Now()
	c.setWait(time.Time{})
	if c.job.Hold > 0 {
		time.Sleep(c.job.Hold)
	}
	releasing := time.Now()
	// Not ctx: what is held when the window ends is given back like any other.
	err = held.Release(context.WithoutCancel(ctx))
	c.count(writes, began, acquired, releasing, time.Now())
	if c.job.Pause > 0 {
		time.Sleep(c.job.Pause)
	}
	return err
}

func (c *contender) setWait(since time.Time) {
	c.mu.Lock()
	c.since = since
	c.mu.Unlock()
}

// count enters a cycle that ended in the window.
func (c *contender) count(writes bool, began, acquired, releasing, ended time.Time) {
	if ended.Before(c.begin) || !ended.Before(c.end) {
		return
	}
	took := acquired.Sub(began)
	if c.job.Whole {
		took = ended.Sub(began)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted++
	if writes {
		c.result.Writes++
		c.result.WriteTimes = append(c.result.WriteTimes, int64(took))
	} else {
		c.result.Times = append(c.result.Times, int64(took))
	}
	if c.job.Trace {
		c.result.Acquired = append(c.result.Acquired, acquired.UnixNano())
		c.result.Released = append(c.result.Released, releasing.UnixNano())
	}
}

func (c *contender) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Time{}
	if c.result.Failures == 0 {
		c.result.Failure = err.Error()
	}
	c.result.Failures++
}

// addTo adds what this contender found to what its process reports.
func (c *contender) addTo(total *Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total.Counts = append(total.Counts, c.counted)
	total.Writes += c.result.Writes
	total.Times = append(total.Times, c.result.Times...)
	total.WriteTimes = append(total.WriteTimes, c.result.WriteTimes...)
	total.Acquired = append(total.Acquired, c.result.Acquired...)
	total.Released = append(total.Released, c.result.Released...)
	if !c.since.IsZero() && c.since.Before(c.end) {
		total.Pending = append(total.Pending, int64(c.end.Sub(c.since)))
	}
	total.Failures += c.result.Failures
	if total.Failure == "" {
		total.Failure = c.result.Failure
	}
}
