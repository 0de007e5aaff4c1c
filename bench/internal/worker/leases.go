package worker

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/bench/internal/library"
)

// takers is how many goroutines take the leases, to be done soon.
const takers = 64

// leases are many locks that one process holds.
type leases struct {
	held   []library.Held
	memory int64 // bytes that they take
}

// takeLeases acquires n locks and measures what they take.
func takeLeases(ctx context.Context, locker library.Locker, n int) (*leases, error) {
	l := &leases{held: make([]library.Held, n)}
	before := memory()
	var next atomic.Int64
	var failure error
	var failed sync.Once
	var all sync.WaitGroup
	for range takers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				held, err := locker.Lock(key(int(i))).Acquire(ctx)
				if err != nil {
					failed.Do(func() { failure = err })
					return
				}
				l.held[i] = held
			}
		})
	}
	all.Wait()
	l.memory = memory() - before
	return l, failure
}

// memory is what lives on the heap and on the stacks of goroutines.
func memory() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and clean-ups kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func (l *leases) report() Result {
	r := Result{Goroutines: int64(runtime.NumGoroutine()), Memory: l.memory}
	for _, h := range l.held {
		if e, ok := h.(interface{ Err() error }); ok && e.Err() != nil {
			r.Lost++
		}
	}
	return r
}
