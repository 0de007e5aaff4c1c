//go:build linux

package reentrant_test

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/reentrant"
)

// These tests run reentrant locks in processes of their own. They are not
// parallel to others: some measure times, and the history needs the machine.

const (
	commonName = "shared"
	commonKey  = "holdfast:reentrant:" + commonName
	sharesKey  = "holdfast:h:{" + commonKey + "}" + commonKey

	// slack is what wakes, polls and a busy machine may add to a time that the
	// protocol bounds.
	slack = 200 * time.Millisecond

	// briefTTL is that of "brief" leases, which are not renewed.
	briefTTL = 40 * time.Millisecond
)

// TestChildProcess is no test: it is what the other processes run.
func TestChildProcess(t *testing.T) { processtest.Child(t, newLock, history.Orders()) }

// newLock reads "[try] [brief] [owner]"; without an owner each is another.
func newLock(c *holdfast.Client, set processtest.Settings) processtest.Lock {
	lasting := reentrant.New(c, set.Name, set.Options()...)
	brief := reentrant.New(c, set.Name, append(set.Options(), holdfast.WithTTL(briefTTL), holdfast.WithoutRenewal())...)
	return processtest.Lock{
		Acquire: func(ctx context.Context, argument string) (*holdfast.Lease, error) {
			m := lasting
			argument, tries := strings.CutPrefix(argument, "try ")
			argument, short := strings.CutPrefix(argument, "brief ")
			if short {
				m = brief
			}
			if argument != "" {
				ctx = reentrant.WithOwner(ctx, argument)
			}
			if tries {
				return m.TryLock(ctx)
			}
			return m.Lock(ctx)
		},
	}
}

func backend(t *testing.T) *contract.Env {
	t.Helper()
	s := testredis.Start(t)
	return &contract.Env{Kind: kind, Addr: s.Addr(), Redis: s.Client(t), Real: s}
}

// holds fails the test unless the lock's hash is exactly that.
func holds(t *testing.T, e *contract.Env, want map[string]string) {
	t.Helper()
	got, err := e.Redis.HGetAll(t.Context(), commonKey).Result()
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("the lock is %v, not %v (%v)", got, want, err)
	}
}

// TestKilledHolderOfThree: the death of a process that holds three times costs
// one TTL, as that of any other, and nothing is left of its count.
func TestKilledHolderOfThree(t *testing.T) {
	const ttl = time.Second
	e := backend(t)
	probe := reentrant.New(e.Client(t), commonName)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: commonName, TTL: ttl})
	next := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: commonName, TTL: 30 * time.Second, Every: time.Hour})
	before := holder.Lock("first")
	for range 2 {
		if again := holder.Lock("first"); again.Token != before.Token {
			t.Errorf("a re-entry has token %d, not %d", again.Token, before.Token)
		}
	}
	holds(t, e, map[string]string{"first": "3"})
	next.Order("lock second")
	e.AwaitWaiters(t, probe, 1)

	holder.Kill()
	killed := processtest.Monotonic()
	earliest, _ := processtest.KeyEnd(t, e.Redis, commonKey)
	after := next.Expect("locked")
	if after.At < earliest {
		t.Errorf("the next owner ran %v before the leases of the dead one could end", earliest-after.At)
	}
	if d := after.At - killed; d > ttl+slack {
		t.Errorf("the next owner ran %v after the death of the one before, whose TTL was %v", d, ttl)
	}
	if after.Token <= before.Token {
		t.Errorf("token %d after %d", after.Token, before.Token)
	}
	holds(t, e, map[string]string{"second": "1"})
	t.Logf("the next owner ran %v after the death, %v after the lease's end", after.At-killed, after.At-earliest)
	next.Release()
	e.NothingLeft(t)
}

// TestOneOwnerInTwoProcesses: two processes hold together, and one is killed.
// Its share is counted out when its TTL is over, by the renewals of the other,
// whose share stays; and when that one releases, the lock is free at once.
func TestOneOwnerInTwoProcesses(t *testing.T) {
	const ttl = time.Second
	e := backend(t)
	probe := reentrant.New(e.Client(t), commonName)
	set := processtest.Settings{Addr: e.Addr, Name: commonName, TTL: ttl}
	dying, living := processtest.Start(t, set), processtest.Start(t, set)
	next := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: commonName, TTL: 30 * time.Second, Every: time.Hour})
	first, second := dying.Lock("job"), living.Lock("job")
	if first.Token != second.Token {
		t.Errorf("one owner holds under tokens %d and %d", first.Token, second.Token)
	}
	holds(t, e, map[string]string{"job": "2"})

	dying.Kill()
	killed := processtest.Monotonic()
	earliest, _ := processtest.HoldEnd(t, e.Redis, sharesKey, first.ID)
	var counted time.Duration
	contract.Eventually(t, "the dead share to be counted out", func() bool {
		count, err := e.Redis.HGet(t.Context(), commonKey, "job").Result()
		counted = processtest.Monotonic()
		if err != nil {
			t.Fatalf("the living share is gone: %v", err)
		}
		return count == "1"
	})
	if counted < earliest {
		t.Errorf("the dead share was counted out %v before its end", earliest-counted)
	}
	// The first renewal after its end does it.
	if d := counted - killed; d > ttl+ttl/3+slack {
		t.Errorf("the dead share was counted out after %v", d)
	}
	t.Logf("the dead share was counted out %v after the death, %v after its end", counted-killed, counted-earliest)

	next.Order("lock another")
	e.AwaitWaiters(t, probe, 1)
	processtest.Await(t, processtest.Monotonic()+ttl+ttl/3) // longer than one lease
	holds(t, e, map[string]string{"job": "1"})
	living.Order("renew")
	if r := living.Expect("renewed"); r.Error != "" {
		t.Errorf("the living share was harmed: %s", r.Error)
	}
	released := living.Release()
	after := next.Expect("locked")
	if d := after.At - released.At; d < 0 || d > slack {
		t.Errorf("the other owner ran %v after the release", d)
	}
	if after.Token <= first.Token {
		t.Errorf("token %d after %d", after.Token, first.Token)
	}
	holds(t, e, map[string]string{"another": "1"})
	next.Release()
	e.NothingLeft(t)
}

// TestHistory lets processes lock at random, partly for owners whom several of
// them share, while they are killed and stopped: different owners never hold at
// once, the holds of one owner have one token, and tokens follow each other.
func TestHistory(t *testing.T) {
	const processes = 4
	e := backend(t)
	s := history.Storm{Settings: processtest.Settings{Addr: e.Addr, Name: commonName, TTL: 150 * time.Millisecond}}
	traffic := history.Traffic{
		Goroutines: 4, Hold: 3 * time.Millisecond, Long: 80 * time.Millisecond, LongOne: 150,
		CancelOne: 6, Pause: 5 * time.Millisecond,
	}
	for _, owner := range []string{"", "alice", "bob"} {
		for _, how := range []string{"", "", "try ", "brief ", "try brief "} {
			traffic.Requests = append(traffic.Requests, history.Request{Argument: how + owner, Weight: 1, Limit: 1, Owner: owner})
		}
	}
	for range processes {
		s.Traffic = append(s.Traffic, traffic)
	}
	s.Start(t)
	s.Rage(history.Length(8*time.Second), func() { lookAtShares(t, e) })
	s.Halt()
	contract.Release(t, contract.Lock(t, reentrant.New(e.Client(t), commonName)))
	e.NothingLeft(t)
}

// lookAtShares fails the test if the hash does not count the shares, or counts
// for more than one owner.
func lookAtShares(t *testing.T, e *contract.Env) {
	t.Helper()
	tx := e.Redis.TxPipeline() // one instant
	lock := tx.HGetAll(t.Context(), commonKey)
	shares := tx.ZCount(t.Context(), sharesKey, "(0", "+inf")
	if _, err := tx.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(lock.Val()) > 1 {
		t.Errorf("two owners: %v", lock.Val())
	}
	for owner, count := range lock.Val() {
		if count != strconv.FormatInt(shares.Val(), 10) {
			t.Errorf("%s holds %s times, with %d shares", owner, count, shares.Val())
		}
	}
}
