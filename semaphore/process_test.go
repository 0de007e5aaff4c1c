//go:build linux

package semaphore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/semaphore"
)

// These tests run semaphores in processes of their own. They are not parallel to
// others: some measure times, and the histories need the machine.

const (
	semaphoreName = "shared"
	semaphoreKey  = "holdfast:semaphore:" + semaphoreName

	// slack is what wakes, polls and a busy machine may add to a time that the
	// protocol bounds.
	slack = 200 * time.Millisecond

	// briefTTL is that of "brief" leases, which are not renewed.
	briefTTL = 40 * time.Millisecond
)

// TestChildProcess is no test: it is what the other processes run.
func TestChildProcess(t *testing.T) {
	orders := history.Orders()
	orders["pass"] = pass
	processtest.Child(t, newLock, orders)
}

// newLock reads "[try] [brief] <permits>"; what comes behind a "," is for people.
func newLock(c *holdfast.Client, set processtest.Settings) processtest.Lock {
	lasting := semaphore.New(c, set.Name, set.Limit, set.Options()...)
	brief := semaphore.New(c, set.Name, set.Limit, append(set.Options(), holdfast.WithTTL(briefTTL), holdfast.WithoutRenewal())...)
	return processtest.Lock{
		Acquire: func(ctx context.Context, argument string) (*holdfast.Lease, error) {
			s := lasting
			argument, _, _ = strings.Cut(argument, ",")
			argument, tries := strings.CutPrefix(argument, "try ")
			argument, short := strings.CutPrefix(argument, "brief ")
			if short {
				s = brief
			}
			n, err := strconv.ParseInt(argument, 10, 64)
			if err != nil {
				panic(err)
			}
			if tries {
				return s.TryAcquire(ctx, n)
			}
			return s.Acquire(ctx, n)
		},
	}
}

// pass acquires and releases at once.
func pass(ctx context.Context, w *processtest.Worker, argument string) {
	lease, err := w.Acquire(ctx, argument)
	r := processtest.Report{Event: "passed", Argument: argument}
	if err == nil {
		r.Token = lease.Token()
		err = lease.Release(ctx)
	}
	w.Say(r.With(err))
}

func backend(t *testing.T) *contract.Env {
	t.Helper()
	s := testredis.Start(t)
	return &contract.Env{Kind: kind, Addr: s.Addr(), Redis: s.Client(t), Real: s}
}

// allFree takes every permit there is, which nobody may hold up any more, and
// looks at what is left then.
func allFree(t *testing.T, e *contract.Env, limit int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	lease, err := semaphore.New(e.Client(t), semaphoreName, limit).Acquire(ctx, limit)
	if err != nil {
		t.Fatalf("the permits are not free: %v", err)
	}
	contract.Release(t, lease)
	e.NothingLeft(t)
}

// TestHistory lets processes acquire at random while they are killed and
// stopped: never are more permits held than there are, and tokens follow each
// other.
func TestHistory(t *testing.T) {
	const processes = 4
	for _, limit := range []int64{1, 2, 5} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			e := backend(t)
			traffic := history.Traffic{
				Goroutines: 3, Hold: 3 * time.Millisecond, Long: 80 * time.Millisecond, LongOne: 100, CancelOne: 6,
				Pause: time.Duration(limit-1) * 2 * time.Millisecond, // so that permits are free now and then
			}
			for n := range limit {
				for _, how := range []string{"%d", "%d", "try %d", "brief %d", "try brief %d"} {
					traffic.Requests = append(traffic.Requests, history.Request{
						Argument: fmt.Sprintf(how, n+1), Weight: n + 1, Limit: limit,
					})
				}
			}
			s := history.Storm{Settings: processtest.Settings{
				Addr: e.Addr, Name: semaphoreName, TTL: 150 * time.Millisecond, Limit: limit,
			}}
			for range processes {
				s.Traffic = append(s.Traffic, traffic)
			}
			s.Start(t)
			s.Rage(history.Length(8*time.Second), func() { history.LookAtWeights(t, e.Redis, semaphoreKey) })
			s.Halt()
			allFree(t, e, limit)
		})
	}
}

// TestKilledOwnerOfPermits: what a dead process held comes back when its TTL is
// over, not earlier and hardly later, to a waiter that would not poll by itself
// for ten seconds.
func TestKilledOwnerOfPermits(t *testing.T) {
	const ttl, limit = time.Second, 5
	e := backend(t)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: semaphoreName, TTL: ttl, Limit: limit})
	other := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: semaphoreName, TTL: 30 * time.Second, Limit: limit})
	next := processtest.Start(t, processtest.Settings{
		Addr: e.Addr, Name: semaphoreName, TTL: 30 * time.Second, Every: time.Hour, Limit: limit,
	})
	before := holder.Lock("3")
	other.Lock("2")
	next.Order("lock 3")
	awaitPlaces(t, e, limit, 1)

	holder.Kill()
	killed := processtest.Monotonic()
	earliest, _ := processtest.HoldEnd(t, e.Redis, semaphoreKey, before.ID)
	after := next.Expect("locked")
	if after.At < earliest {
		t.Errorf("three permits were granted %v before the dead one's lease could end", earliest-after.At)
	}
	if d := after.At - killed; d > ttl+slack {
		t.Errorf("the permits came back %v after the death of their owner, whose TTL was %v", d, ttl)
	}
	t.Logf("the permits came back %v after the death, %v after the lease's end", after.At-killed, after.At-earliest)
	next.Release()
	other.Release()
	allFree(t, e, limit)
}

// awaitPlaces waits until the queue has n places.
func awaitPlaces(t *testing.T, e *contract.Env, limit int64, n int) {
	t.Helper()
	probe := semaphore.New(e.Client(t), semaphoreName, limit)
	contract.Eventually(t, "the queue to have its places", func() bool {
		_, err := probe.TryAcquire(t.Context(), limit)
		var held *holdfast.HeldError
		if !errors.As(err, &held) {
			t.Fatalf("all permits are free: %v", err)
		}
		return held.Waiters == n
	})
}

// TestOrderOverProcesses queues requests of mixed weights from several
// processes, each seen in the queue before the next comes. They are granted in
// that order: nobody for whom there is room passes one who waits for more, and
// neither does TryAcquire.
func TestOrderOverProcesses(t *testing.T) {
	const limit = 5
	e := backend(t)
	set := processtest.Settings{Addr: e.Addr, Name: semaphoreName, TTL: 30 * time.Second, Limit: limit}
	holder := processtest.Start(t, set)
	var crew []*processtest.Process
	for range 4 {
		crew = append(crew, processtest.Start(t, set))
	}
	// One of five permits is held throughout the first part: the request for
	// five, which is first, must wait, and all others behind it.
	holder.Lock("1")
	weights := []int{5, 1, 1, 3, 2, 5, 4, 1, 1, 2, 5, 1}
	for i, n := range weights {
		crew[i%len(crew)].Order(fmt.Sprintf("pass %d,%d", n, i))
		awaitPlaces(t, e, limit, i+1)
	}
	probe := semaphore.New(e.Client(t), semaphoreName, limit)
	for range 100 { // polls of those who wait go on meanwhile
		_, err := probe.TryAcquire(t.Context(), 1)
		var held *holdfast.HeldError
		if !errors.As(err, &held) || held.Holder != "" || held.Waiters != len(weights) {
			t.Fatalf("TryAcquire of one permit, past those who wait for more: %v", err)
		}
	}
	holder.Release()

	tokens := make([]int64, len(weights))
	for i := range weights {
		r := crew[i%len(crew)].Expect("passed")
		_, number, _ := strings.Cut(r.Argument, ",")
		place, err := strconv.Atoi(number)
		if err != nil || r.Error != "" {
			t.Fatalf("%+v", r)
		}
		tokens[place] = r.Token
	}
	if !slices.IsSorted(tokens) { // they grow with every grant
		t.Errorf("requests for %v permits, in the order of their arrival, were granted in another: %v", weights, tokens)
	}
	allFree(t, e, limit)
}
