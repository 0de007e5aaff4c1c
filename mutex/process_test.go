//go:build linux

package mutex_test

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// These tests run locks in processes of their own, which are killed, stopped and
// made to exit. They are not parallel to others: most of them measure times.

const (
	lockName    = "shared"
	lockKey     = "holdfast:mutex:" + lockName
	registerKey = "register"

	// longVariable asks for the long runs.
	longVariable = "HOLDFAST_LONG"

	// slack is what wakes, polls and a busy machine may add to a time that the
	// protocol bounds.
	slack = 200 * time.Millisecond

	// minLiveness is for how long a waiter that polls often counts as alive
	// after its last poll. One that polls seldom counts for three intervals.
	minLiveness = 100 * time.Millisecond

	// cycleTime is how long a child may take to come to the end of its cycles.
	cycleTime = 3 * time.Minute
)

// backend is one real server and, in env, a client of this process.
func backend(t *testing.T) (e *contract.Env, probe holdfast.Locker) {
	t.Helper()
	s := testredis.Start(t)
	e = &contract.Env{Kind: kind, Addr: s.Addr(), Redis: s.Client(t), Real: s}
	return e, mutex.New(e.Client(t), lockName)
}

// leaseEnd says between which times the lock ends in Redis, whose holder is
// dead or stopped and renews it no more.
func leaseEnd(t *testing.T, rdb redis.UniversalClient) (earliest, latest time.Duration) {
	t.Helper()
	return processtest.KeyEnd(t, rdb, lockKey)
}

// TestProcessesExclude lets eight processes contend. No two of them ever believe
// to hold the lock at once, each later holder has a higher token, no update of
// an unprotected register is lost, and each process gets its share.
func TestProcessesExclude(t *testing.T) {
	const processes = 8
	limit := 20_000
	if os.Getenv(longVariable) != "" {
		limit = 100_000
	}
	e, _ := backend(t)
	var children []*processtest.Process
	for range processes {
		children = append(children, processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second}))
	}
	for _, c := range children {
		c.Order("cycle " + strconv.Itoa(limit))
	}
	var all []cycle
	var shares []int
	for _, c := range children {
		mine := cycles(t, c)
		c.Close()
		all = append(all, mine...)
		shares = append(shares, len(mine)-1) // with the last one it saw that the register is full
	}

	slices.SortFunc(all, func(a, b cycle) int { return cmp.Compare(a.At, b.At) })
	for i := 1; i < len(all); i++ {
		before, after := all[i-1], all[i]
		if after.At <= before.Until {
			t.Fatalf("two holders at once: from %v to %v and from %v", before.At, before.Until, after.At)
		}
		if after.Token <= before.Token {
			t.Fatalf("token %d after %d", after.Token, before.Token)
		}
	}
	total, squares := 0, 0
	for _, share := range shares {
		total += share
		squares += share * share
		if share < limit/processes/2 {
			t.Errorf("a process got %d of %d cycles", share, limit)
		}
	}
	if n, err := e.Redis.Get(t.Context(), registerKey).Int(); err != nil || n != total || n != limit {
		t.Errorf("the register is %d after %d additions (%v)", n, total, err)
	}
	jain := float64(total) * float64(total) / (processes * float64(squares))
	if jain < 0.9 {
		t.Errorf("fairness by Jain's index: %.3f of %v", jain, shares)
	}
	took := all[len(all)-1].Until - all[0].At
	t.Logf("%d cycles in %v, %.0f/s; Jain's index %.4f", total, took, float64(total)/took.Seconds(), jain)
	e.Redis.Del(t.Context(), registerKey)
	e.NothingLeft(t)
}

// cycles is what the child did since it was ordered to "cycle".
func cycles(t *testing.T, p *processtest.Process) []cycle {
	t.Helper()
	var all []cycle
	for {
		switch r := p.Next(cycleTime); r.Event {
		case "cycle":
			var c cycle
			if err := r.Read(&c); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		case "done":
			return all
		default:
			t.Fatalf("the child said %+v", r)
		}
	}
}

// TestKilledHolderCostsItsTTL: whoever is next runs when the dead holder's lease
// ends in Redis, not earlier and hardly later, although it would not poll by
// itself for ten seconds.
func TestKilledHolderCostsItsTTL(t *testing.T) {
	const ttl = time.Second
	e, probe := backend(t)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	next := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	before := holder.Lock("")
	next.Order("lock")
	e.AwaitWaiters(t, probe, 1)
	last := ttl
	contract.Eventually(t, "the lease to be renewed", func() bool {
		left := e.Redis.PTTL(t.Context(), lockKey).Val()
		renewed := left > last
		last = left
		return renewed
	})

	holder.Kill()
	killed := processtest.Monotonic()
	earliest, _ := leaseEnd(t, e.Redis)
	after := next.Expect("locked")
	if after.At < earliest {
		t.Errorf("the next holder ran %v before the lease of the dead one could end", earliest-after.At)
	}
	if d := after.At - killed; d > ttl+slack {
		t.Errorf("the next holder ran %v after the death of the one before, whose TTL was %v", d, ttl)
	}
	if after.Token <= before.Token {
		t.Errorf("token %d after %d", after.Token, before.Token)
	}
	t.Logf("the next holder ran %v after the death, %v after the lease's end", after.At-killed, after.At-earliest)
	next.Release()
	e.NothingLeft(t)
}

// TestKilledWaiterIsSkipped: once it no longer counts as alive, the one behind
// it gets the lock in the release itself.
func TestKilledWaiterIsSkipped(t *testing.T) {
	e, probe := backend(t)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second})
	first := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 3 * time.Second, Every: 20 * time.Millisecond})
	second := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	holder.Lock("")
	first.Order("lock")
	e.AwaitWaiters(t, probe, 1)
	second.Order("lock")
	e.AwaitWaiters(t, probe, 2)

	first.Kill()
	processtest.Settle(t, e.Redis) // its last poll
	processtest.Await(t, processtest.Monotonic()+minLiveness+2*time.Millisecond)
	released := holder.Release()
	after := second.Expect("locked")
	if d := after.At - released.At; d < 0 || d > slack {
		t.Errorf("the one behind the dead waiter ran %v after the release", d)
	}
	t.Logf("the one behind the dead waiter ran %v after the release", after.At-released.At)
	second.Release()
	e.NothingLeft(t)
}

// TestKilledHolderAndWaiter is the worst that deaths of two cost: the waiter
// still counts as alive when the holder's lease ends, so it is granted the lock
// and never takes it. The third then waits for the TTL of each.
func TestKilledHolderAndWaiter(t *testing.T) {
	const (
		ttl      = 400 * time.Millisecond // of the holder
		dead     = 2 * ttl                // TTL of the waiter
		interval = dead / 3               // between its polls: the longest that its TTL allows
		liveness = 3 * interval           // so it lives on beyond the holder's lease
		third    = 20 * time.Millisecond  // between polls of the third
	)
	e, probe := backend(t)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	waiter := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: dead, Every: time.Hour})
	last := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: third})
	holder.Lock("")
	waiter.Order("lock")
	e.AwaitWaiters(t, probe, 1)
	last.Order("lock")
	e.AwaitWaiters(t, probe, 2)

	holder.Kill()
	killed := processtest.Monotonic()
	waiter.Kill()
	earliest, latest := leaseEnd(t, e.Redis)
	after := last.Expect("locked")
	if after.At < earliest+dead {
		t.Errorf("the third ran %v after the holder's lease could end: the dead waiter, alive for Redis, was passed over or robbed",
			after.At-earliest)
	}
	if d := after.At - killed; d > ttl+dead+liveness+third {
		t.Errorf("the third ran after %v, more than both TTLs, the liveness and an interval", d)
	}
	// What it comes to: the third's own polls find the free lock, and then the
	// end of the dead waiter's grant.
	if d := after.At - latest; d > third+dead+slack {
		t.Errorf("the third ran %v after the holder's lease ended", d)
	}
	t.Logf("the third ran %v after the deaths", after.At-killed)
	last.Release()
	e.NothingLeft(t)
}

// TestStoppedHolderKnowsAtOnce stops a holder beyond its lease. When it goes on,
// the first look at the lease must say that it is lost: it looks all the time,
// and no timer or goroutine of the process may be needed for it. Its late release
// does nothing to the holder that came after it.
func TestStoppedHolderKnowsAtOnce(t *testing.T) {
	const rounds, ttl = 10, 300 * time.Millisecond
	e, probe := backend(t)
	holder := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	next := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	for round := range rounds {
		before := holder.Lock("")
		next.Order("lock")
		e.AwaitWaiters(t, probe, 1)
		holder.Order([]string{"watch err", "watch context"}[round%2])

		holder.Stop()
		earliest, latest := leaseEnd(t, e.Redis)
		after := next.Expect("locked")
		if after.At < earliest || after.Token <= before.Token {
			t.Errorf("a lease until %v with token %d, then one from %v with token %d",
				earliest, before.Token, after.At, after.Token)
		}
		holder.Resume()
		over := holder.Expect("over")
		if !over.Lost {
			t.Errorf("the stopped holder was told %q, not that its lease is lost", over.Error)
		}
		if over.At > latest {
			t.Errorf("the lease was held for its first holder %v after its end in Redis, %v after the next holder ran",
				over.At-latest, over.At-after.At)
		}

		holder.Order("release")
		if r := holder.Expect("released"); !r.Lost {
			t.Errorf("the release of a lost lease said %q", r.Error)
		}
		if round == rounds-1 {
			holder.Close() // when it returns, all that it had to send is answered
		}
		next.Order("renew")
		if r := next.Expect("renewed"); r.Error != "" {
			t.Errorf("the next holder was harmed: %s", r.Error)
		}
		next.Release()
	}
	e.NothingLeft(t)
}

// TestStoppedUnderWay stops a process while the answer of Redis to it is under
// way. A lease must be counted from when its command was sent: the process reads
// the answer when half of the lease is over.
func TestStoppedUnderWay(t *testing.T) {
	const ttl = 600 * time.Millisecond
	for _, command := range []string{"lock", "renew"} {
		t.Run(command, func(t *testing.T) {
			e, _ := backend(t)
			c := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl, WithoutRenewal: true})
			warmUp(c)
			for range 20 {
				if stoppedUnderWay(t, e, c, command, ttl) {
					return
				}
			}
			t.Error("the stop never came between the command and its answer")
		})
	}
}

// warmUp loads the scripts, so that a command is one trip.
func warmUp(c *processtest.Process) {
	c.Lock("")
	c.Order("renew")
	c.Expect("renewed")
	c.Release()
}

// stoppedUnderWay makes one attempt. It is not done if the command was not sent
// before the process stopped, or the machine was too slow.
func stoppedUnderWay(t *testing.T, e *contract.Env, c *processtest.Process, command string, ttl time.Duration) (done bool) {
	t.Helper()
	answer := "locked"
	if command == "renew" {
		c.Lock("")
		answer = "renewed"
		// So far that a renewal shows.
		contract.Eventually(t, "a third of the lease to pass", func() bool {
			return e.Redis.PTTL(t.Context(), lockKey).Val() < 2*ttl/3
		})
	}
	e.Real.Pause()
	c.Order(command)
	processtest.Await(t, processtest.Monotonic()+5*time.Millisecond) // so that it is likely to be sent
	c.Stop()
	e.Real.Resume()
	processtest.Settle(t, e.Redis)
	if e.Redis.PTTL(t.Context(), lockKey).Val() < 3*ttl/4 {
		c.Resume()
		c.Expect(answer)
		c.Order("release")
		c.Expect("released")
		return false
	}
	earliest, latest := leaseEnd(t, e.Redis)
	owner := e.Redis.Get(t.Context(), lockKey).Val()
	processtest.Await(t, earliest-ttl/2)
	c.Resume()
	r := c.Expect(answer)
	if r.Error != "" || command == "lock" && !strings.HasPrefix(owner, r.ID+" ") {
		c.Order("release") // its lease was over when it read the answer
		c.Expect("released")
		return false
	}
	c.Order("watch err")
	over := c.Expect("over")
	if !over.Lost {
		t.Errorf("the lease ended with %q", over.Error)
	}
	if over.At > latest {
		t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
	}
	t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
	return true
}

// TestStoppedWaiter stops a waiter before it is granted the lock. Its lease began
// with the release of the holder before it, not when it heard of that: it must
// not count from there.
func TestStoppedWaiter(t *testing.T) {
	const ttl = 900 * time.Millisecond // no poll is due before a third of it has passed
	e, probe := backend(t)
	c := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl, Every: time.Hour, WithoutRenewal: true})
	for round := range 4 {
		lease := contract.Lock(t, probe)
		c.Order("lock")
		e.AwaitWaiters(t, probe, 1)
		if round == 0 { // so that it listens to wake-ups
			contract.Release(t, lease)
			c.Expect("locked")
			c.Release()
			continue
		}
		c.Stop()
		contract.Release(t, lease)
		earliest, _ := leaseEnd(t, e.Redis)
		processtest.Await(t, earliest-4*ttl/5)
		c.Resume()
		c.Expect("locked")
		// If the process was slow it had to ask, and its lease began anew.
		_, latest := leaseEnd(t, e.Redis)
		c.Order("watch err")
		over := c.Expect("over")
		if over.At > latest {
			t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
		}
		t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
	}
}

// TestStoppedPoll stops a waiter while the answer to its poll is under way, by
// which it took the lock that its holder had let expire. The lease counts from
// when the poll was sent.
func TestStoppedPoll(t *testing.T) {
	const (
		ttl    = 1800 * time.Millisecond // a poll may take a sixth of it
		before = 300 * time.Millisecond  // TTL of the holder before
		away   = ttl / 12
	)
	e, _ := backend(t)
	first := mutex.New(e.Client(t), lockName, holdfast.WithTTL(before), holdfast.WithoutRenewal())
	c := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl, Every: time.Hour, WithoutRenewal: true})
	for range 20 {
		lease := contract.Lock(t, first)
		c.Order("lock")
		e.AwaitWaiters(t, first, 1)
		_, due := leaseEnd(t, e.Redis)
		processtest.Await(t, due-before/10)
		e.Real.Pause()
		processtest.Await(t, due+20*time.Millisecond) // so that the poll is likely to be sent
		c.Stop()
		if err := lease.Err(); !errors.Is(err, holdfast.ErrLost) {
			t.Fatalf("the lease of the holder before: %v", err)
		}
		e.Real.Resume()
		processtest.Settle(t, e.Redis)
		if e.Redis.PTTL(t.Context(), lockKey).Val() < 3*ttl/4 { // it was not
			c.Resume()
			c.Expect("locked")
			c.Release()
			continue
		}
		earliest, _ := leaseEnd(t, e.Redis)
		processtest.Await(t, earliest-ttl+away)
		c.Resume()
		c.Expect("locked")
		// If the process was slow it asked again, and its lease began anew.
		_, latest := leaseEnd(t, e.Redis)
		c.Order("watch err")
		over := c.Expect("over")
		if over.At > latest {
			t.Errorf("the lease was held %v beyond its end in Redis", over.At-latest)
		}
		t.Logf("the last look that found the lease held was %v before its end in Redis", latest-over.At)
		return
	}
	t.Error("the stop never came between the poll and its answer")
}

// TestExitLeavesNothing ends a process by os.Exit while one of its goroutines
// holds the lock and three wait, all with places in Redis. After one TTL the
// lock is free for anybody at the first try.
func TestExitLeavesNothing(t *testing.T) {
	const ttl = time.Second
	e, probe := backend(t)
	c := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	c.Lock("")
	c.Order("crowd")
	e.AwaitWaiters(t, probe, 3)

	c.Exit()
	processtest.Settle(t, e.Redis) // what it had sent
	processtest.Await(t, processtest.Monotonic()+ttl+2*time.Millisecond)
	lease, err := probe.TryLock(t.Context())
	if err != nil {
		t.Fatalf("the lock is not free %v after its holder's process ended: %v", ttl, err)
	}
	contract.Release(t, lease)
	e.NothingLeft(t)
	channels, err := e.Redis.PubSubChannels(t.Context(), "*").Result()
	if err != nil || len(channels) != 0 {
		t.Errorf("somebody still listens to %v, %v", channels, err)
	}
}
