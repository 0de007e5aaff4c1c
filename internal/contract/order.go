package contract

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// excludes adds to a register by read-then-write from several clients: a lost
// update shows two holders.
func excludes(t *testing.T, e *Env) {
	const clients, goroutines, cycles = 4, 4, 15
	ctx := t.Context()
	var inside, done atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		l := e.New(e.Client(t), "register")
		for range goroutines {
			wg.Go(func() {
				for range cycles {
					err := l.Do(ctx, func(ctx context.Context) error {
						if inside.Add(1) != 1 {
							t.Error("two holders at once")
						}
						defer inside.Add(-1)
						n, _ := e.Redis.Get(ctx, "register").Int64() // absent: 0
						done.Add(1)
						return e.Redis.Set(ctx, "register", n+1, 0).Err()
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n, err := e.Redis.Get(ctx, "register").Int64(); err != nil || n != done.Load() || n != clients*goroutines*cycles {
		t.Errorf("the register is %d after %d additions (%v)", n, done.Load(), err)
	}
}

func tokensGrow(t *testing.T, e *Env) {
	a, b := e.New(e.Client(t), "tokens"), e.New(e.Client(t), "tokens")
	var last int64
	for i := range 40 {
		l := a
		if i%2 == 1 {
			l = b
		}
		var waiting <-chan Result
		lease := Lock(t, l)
		if i%4 == 0 { // by hand-over as well
			waiting = Go(t.Context(), b)
			e.AwaitWaiters(t, a, 1)
		}
		if i == 20 {
			e.flush(t)
			_ = lease.Release(t.Context()) // lost by the flush
		} else {
			Release(t, lease)
		}
		if lease.Token() <= last {
			t.Fatalf("token %d after %d", lease.Token(), last)
		}
		last = lease.Token()
		if waiting != nil {
			r := Get(t, waiting)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if r.Lease.Token() <= last {
				t.Fatalf("token %d after %d, handed over", r.Lease.Token(), last)
			}
			last = r.Lease.Token()
			Release(t, r.Lease)
		}
	}
}

func (e *Env) flush(t *testing.T) {
	t.Helper()
	if e.Cluster != nil {
		e.Cluster.Flush(t)
	} else {
		testredis.Flush(t, e.Redis)
	}
}

func tryLockSaysWhoHolds(t *testing.T, e *Env) {
	a := e.New(e.Client(t, holdfast.WithHolder("alice at work")), "try", holdfast.WithTTL(20*time.Second))
	b := e.New(e.Client(t), "try")
	lease := Lock(t, a)
	_, err := b.TryLock(t.Context())
	var held *holdfast.HeldError
	if !errors.As(err, &held) || !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Fatalf("TryLock of a held lock: %v", err)
	}
	if held.Name != "try" || held.Holder != "alice at work" || held.Foreign || held.Waiters != 0 {
		t.Errorf("HeldError: %+v", held)
	}
	if held.Remaining <= 15*time.Second || held.Remaining > 20*time.Second {
		t.Errorf("Remaining = %v of 20 s", held.Remaining)
	}
	Release(t, lease)
	lease, err = b.TryLock(t.Context())
	if err != nil {
		t.Fatalf("TryLock of a free lock: %v", err)
	}
	Release(t, lease)
	e.NothingLeft(t)
}

// tryLockDoesNotOvertake: while a waiter is in the queue, the lock is its.
func tryLockDoesNotOvertake(t *testing.T, e *Env) {
	a, b, c := e.New(e.Client(t), "over"), e.New(e.Client(t), "over"), e.New(e.Client(t), "over")
	lease := Lock(t, a)
	waiting := Go(t.Context(), b)
	e.AwaitWaiters(t, c, 1)
	Release(t, lease)
	if _, err := c.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock past a waiter: %v", err)
	}
	r := Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}

	// The same when the lock is free because its holder's key is gone.
	waiting = Go(t.Context(), a)
	e.AwaitWaiters(t, c, 1)
	if err := e.remove(t, r.Lease); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock past a waiter of a lock that was removed: %v", err)
	}
	_ = r.Lease.Release(t.Context()) // lost
	r = Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	Release(t, r.Lease)
}

func uncontendedSendsTwoCommands(t *testing.T, e *Env) {
	if e.Real == nil {
		return // nobody counts its commands
	}
	const cycles = 1000
	c := e.Client(t)
	if !e.Unordered {
		e.Subscribe(t, c) // as it does by itself once it has held something for long
	}
	l := e.New(c, "plain")
	Release(t, Lock(t, l)) // loads the scripts, opens the connection
	count := e.Real.CountClientCommands(t)
	for range cycles {
		Release(t, Lock(t, l))
	}
	if n := count.Total(); n != 2*cycles {
		t.Errorf("%d cycles sent %d commands: %v", cycles, n, count.ByName())
	}
}

// contendedCommands counts what goroutines of a few clients send, and what as many
// clients do: a lock that is passed on inside a process shows in the second what a
// hand-over through Redis costs.
func contendedCommands(t *testing.T, e *Env) {
	if e.Real == nil {
		return // nobody counts its commands
	}
	for _, goroutines := range []int{4, 1} {
		e.contendedCommands(t, 32/goroutines, goroutines)
	}
}

func (e *Env) contendedCommands(t *testing.T, clients, goroutines int) {
	t.Helper()
	const cycles = 40
	var locks []holdfast.Locker
	for range clients {
		locks = append(locks, e.New(e.Client(t), fmt.Sprint("hot", goroutines)))
	}
	contend := func(cycles int) {
		var wg sync.WaitGroup
		for _, l := range locks {
			for range goroutines {
				wg.Go(func() {
					for range cycles {
						Release(t, Lock(t, l))
					}
				})
			}
		}
		wg.Wait()
	}
	contend(5) // subscribes
	count := e.Real.CountClientCommands(t)
	contend(cycles)
	total := clients * goroutines * cycles
	if n := count.Total(); float64(n) > 2.2*float64(total) {
		t.Errorf("%d cycles of %d clients sent %d commands, %.2f each: %v",
			total, clients, n, float64(n)/float64(total), count.ByName())
	}
}

// firstComeFirstServed queues clients one after the other, each seen in the
// queue before the next comes.
func firstComeFirstServed(t *testing.T, e *Env) {
	waiters := 200
	if e.Real == nil {
		waiters = 40
	}
	holder := e.New(e.Client(t), "order")
	lease := Lock(t, holder)
	order := make(chan int, waiters)
	var wg sync.WaitGroup
	for i := range waiters {
		l := e.New(e.Client(t), "order")
		wg.Go(func() {
			err := l.Do(t.Context(), func(context.Context) error {
				order <- i
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		e.AwaitWaiters(t, holder, i+1)
	}
	Release(t, lease)
	wg.Wait()
	close(order)
	want := 0
	for got := range order {
		if got != want {
			t.Fatalf("waiter %d was served in place %d", got, want)
		}
		want++
	}
}

// processesTakeTurns: two clients with many goroutines each alternate, after no more
// than a turn, and each serves its own in order.
func processesTakeTurns(t *testing.T, e *Env) {
	if e.Shared {
		return // each goroutine takes its own turn: FirstComeFirstServed
	}
	const each = 100
	most := max(e.Turn, 1)
	var served [2]atomic.Int64
	probe := e.seer(t, e.Client(t), "turns")
	lease := Lock(t, probe)
	holders := []string{"process 0", "process 1"}
	type turn struct{ client, number int }
	order := make(chan turn, 2*each)
	var wg sync.WaitGroup
	for client, holder := range holders {
		l := e.New(e.Client(t, holdfast.WithHolder(holder)), "turns")
		for number := range each {
			wg.Go(func() {
				takeTurn(t, l, func() {
					order <- turn{client, number}
					served[client].Add(1)
					// Work that is shorter than a round trip would be over before
					// the next goroutine of either process could queue.
					Eventually(t, "both processes to wait", func() bool {
						for other, holder := range holders {
							if served[other].Load() < each && !waits(t, probe, holder) {
								return false
							}
						}
						return true
					})
				})
			})
			Eventually(t, "the goroutine to queue", func() bool {
				return asleepIn("contract.takeTurn(") == client*each+number+1
			})
		}
		e.AwaitWaiters(t, probe, client+1)
	}
	Release(t, lease)
	wg.Wait()
	close(order)
	var next [2]int
	last, run := 1, most // the first client came first
	for got := range order {
		if got.number != next[got.client] {
			t.Fatalf("goroutine %d of client %d came before %d", got.number, got.client, next[got.client])
		}
		next[got.client]++
		if got.client != last {
			last, run = got.client, 0
		}
		if run++; run > most && next[1-got.client] < each {
			t.Fatalf("client %d was served %d times in a row", got.client, run)
		}
	}
}

// waits tells whether that holder has a place in the queue.
func waits(t *testing.T, probe seer, holder string) bool {
	t.Helper()
	state := inspect(t, probe)
	return slices.ContainsFunc(state.Waiters, func(w holdfast.Waiter) bool { return w.Holder == holder })
}

func takeTurn(t *testing.T, l holdfast.Locker, f func()) {
	t.Helper()
	err := l.Do(t.Context(), func(context.Context) error {
		f()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// asleepIn counts the goroutines that sleep in a select below that function: a
// goroutine's place in its process's queue can be seen in no other way from
// outside.
func asleepIn(function string) int {
	stacks := make([]byte, 8<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		head, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(head, "[select") && strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// handOverNeedsNoPoll: with polling as slow as it can be, a release still
// reaches the next waiter at once.
func handOverNeedsNoPoll(t *testing.T, e *Env) {
	slow := holdfast.WithBackOff(func() holdfast.BackOff { return constant(time.Hour) })
	a, b := e.New(e.Client(t), "push", slow), e.New(e.Client(t), "push", slow)
	for range 20 {
		lease := Lock(t, a)
		waiting := Go(t.Context(), b)
		e.AwaitWaiters(t, a, 1)
		Release(t, lease)
		before := time.Now()
		r := Get(t, waiting)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if d := time.Since(before); d > 5*time.Second { // a poll comes after 10 s
			t.Fatalf("the hand-over took %v", d)
		}
		Release(t, r.Lease)
	}
}

// constant is a BackOff that never changes.
type constant time.Duration

func (c constant) NextBackOff() time.Duration { return time.Duration(c) }
func (constant) Reset()                       {}
