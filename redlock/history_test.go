//go:build linux

package redlock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/redlock"
)

// contender is one of several processes, as the servers see it.
type contender struct {
	*redlock.Redlock
	name    string
	record  *history.Recorder
	begun   *atomic.Int64 // in all: there are no tokens, so that they number the holds
	served  atomic.Int64
	refused atomic.Int64
}

// turn locks, holds and releases once; one wait in four ends early.
func (c *contender) turn(t *testing.T, random *rand.Rand) {
	ctx, early := t.Context(), random.IntN(4) == 0
	if early {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(30))*time.Millisecond)
		defer cancel()
	}
	lease, err := c.Lock(ctx)
	from := processtest.Monotonic()
	if err != nil {
		c.refused.Add(1)
		if !early || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", c.name, err)
		}
		return
	}
	number := c.begun.Add(1)
	c.served.Add(1)
	c.record.Begin(history.Op{
		Process: c.name, Number: int(number), Owner: fmt.Sprint(number), ID: lease.ID(),
		Weight: 1, Limit: 1, Token: number, From: from,
	})
	hold := time.NewTimer(time.Duration(random.IntN(4)) * time.Millisecond)
	<-hold.C
	c.record.End(c.name, int(number), processtest.Monotonic(), processtest.At(lease.Deadline()), "released")
	if err := lease.Release(context.WithoutCancel(ctx)); err != nil {
		// A server that is stopped keeps a majority from saying so in time.
		t.Logf("%s: release: %v", c.name, err)
	}
}

// TestHistory lets processes contend while servers hang, one or two of five at a
// time. No two of them ever believe to hold the lock at once, and all are served.
func TestHistory(t *testing.T) {
	const ttl = 400 * time.Millisecond
	all := start(t, 5)
	var record history.Recorder
	var begun atomic.Int64
	var contenders []*contender
	for i := range 4 {
		contenders = append(contenders, &contender{
			Redlock: all.lock(t, "history", holdfast.WithTTL(ttl)),
			name:    fmt.Sprintf("p%d", i), record: &record, begun: &begun,
		})
	}
	var halted atomic.Bool
	var goroutines sync.WaitGroup
	for i, c := range contenders {
		for j := range 2 {
			random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			goroutines.Go(func() {
				for !halted.Load() {
					c.turn(t, random)
				}
			})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for end := time.Now().Add(history.Length(6 * time.Second)); time.Now().Before(end); {
		hang := random.Perm(len(all))[:1+random.IntN(2)]
		for _, i := range hang {
			all[i].Pause()
		}
		d := processtest.Monotonic() + time.Duration(random.Int64N(int64(ttl)))
		processtest.Await(t, d)
		for _, i := range hang {
			all[i].Resume()
		}
		processtest.Await(t, processtest.Monotonic()+time.Duration(random.Int64N(int64(ttl/2))))
	}
	halted.Store(true)
	goroutines.Wait()
	record.Verify(t)
	for _, c := range contenders {
		if c.served.Load() == 0 {
			t.Errorf("%s was never served", c.name)
		}
		t.Logf("%s: served %d times, gave up %d times", c.name, c.served.Load(), c.refused.Load())
	}
	contract.Eventually(t, "all servers to be free", func() bool { return all.holds(t, "history") == 0 })
}
