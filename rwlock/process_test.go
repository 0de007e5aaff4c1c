//go:build linux

package rwlock_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/history"
	"github.com/holdfast-go/holdfast/internal/processtest"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/rwlock"
)

// These tests run read-write locks in processes of their own. They are not
// parallel to others: some measure times, and the histories need the machine.

const (
	lockName = "shared" // its key is lockKey

	// slack is what wakes, polls and a busy machine may add to a time that the
	// protocol bounds.
	slack = 200 * time.Millisecond

	// briefTTL is that of "brief" leases, which are not renewed.
	briefTTL = 40 * time.Millisecond
)

// TestChildProcess is no test: it is what the other processes run.
func TestChildProcess(t *testing.T) { processtest.Child(t, newLock, history.Orders()) }

// newLock reads "[try] [brief] read|write".
func newLock(c *holdfast.Client, set processtest.Settings) processtest.Lock {
	lasting := rwlock.New(c, set.Name, set.Options()...)
	brief := rwlock.New(c, set.Name, append(set.Options(), holdfast.WithTTL(briefTTL), holdfast.WithoutRenewal())...)
	return processtest.Lock{
		Acquire: func(ctx context.Context, argument string) (*holdfast.Lease, error) {
			rw := lasting
			argument, tries := strings.CutPrefix(argument, "try ")
			argument, short := strings.CutPrefix(argument, "brief ")
			if short {
				rw = brief
			}
			var l holdfast.Locker = rw
			if argument == "read" {
				l = rw.RLocker()
			}
			if tries {
				return l.TryLock(ctx)
			}
			return l.Lock(ctx)
		},
		Downgrade: lasting.Downgrade,
	}
}

func backend(t *testing.T) *contract.Env {
	t.Helper()
	s := testredis.Start(t)
	return &contract.Env{Kind: kind, Addr: s.Addr(), Redis: s.Client(t), Real: s}
}

// free takes the lock as the writer, which nobody may hold up any more, and
// looks at what is left then.
func free(t *testing.T, e *contract.Env) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	lease, err := rwlock.New(e.Client(t), lockName).Lock(ctx)
	if err != nil {
		t.Fatalf("the lock is not free: %v", err)
	}
	contract.Release(t, lease)
	e.NothingLeft(t)
}

func request(argument string) history.Request {
	q := history.Request{Argument: argument, Weight: 1, Limit: holdfast.All}
	if strings.HasSuffix(argument, "write") {
		q.Weight = holdfast.All
	}
	return q
}

// TestHistory lets processes read and write at random while they are killed and
// stopped: a writer is always alone, also one that becomes a reader, and tokens
// follow each other.
func TestHistory(t *testing.T) {
	const processes = 5
	e := backend(t)
	s := history.Storm{Settings: processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 150 * time.Millisecond}}
	traffic := history.Traffic{
		Goroutines: 4, Hold: 3 * time.Millisecond, Long: 80 * time.Millisecond, LongOne: 150,
		CancelOne: 6, LightenOne: 3, Pause: 10 * time.Millisecond,
	}
	for _, argument := range []string{
		"read", "read", "read", "read", "try read", "brief read", "try brief read",
		"write", "write", "try write", "brief write",
	} {
		traffic.Requests = append(traffic.Requests, request(argument))
	}
	for range processes {
		s.Traffic = append(s.Traffic, traffic)
	}
	s.Start(t)
	s.Rage(history.Length(10*time.Second), func() { history.LookAtWeights(t, e.Redis, lockKey) })
	s.Halt()
	free(t, e)
}

// TestKilledReader: a reader that died is out when its own TTL is over, although
// others come and go, and keep the lock alive in Redis. The writer that waits,
// which would not poll by itself for ten seconds, then gets in.
func TestKilledReader(t *testing.T) {
	const ttl = time.Second
	e := backend(t)
	s := history.Storm{Settings: processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second}}
	for range 2 {
		s.Traffic = append(s.Traffic, history.Traffic{
			Goroutines: 8, Requests: []history.Request{request("read")}, Hold: 3 * time.Millisecond,
		})
	}
	dying := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: ttl})
	writer := processtest.Start(t, processtest.Settings{Addr: e.Addr, Name: lockName, TTL: 30 * time.Second, Every: time.Hour})
	s.Start(t)
	before := dying.Lock("read")
	dying.Kill()
	killed := processtest.Monotonic()
	earliest, _ := processtest.HoldEnd(t, e.Redis, lockKey, before.ID)
	had := s.Begun("read")
	contract.Eventually(t, "the others to come and go", func() bool { return s.Begun("read") > had+200 })
	came := s.Begun("read") - had

	writer.Order("lock write")
	after := writer.Expect("locked")
	if after.At < earliest {
		t.Errorf("the writer ran %v before the lease of the dead reader could end", earliest-after.At)
	}
	if d := after.At - killed; d > ttl+slack {
		t.Errorf("the writer ran %v after the death of a reader whose TTL was %v", d, ttl)
	}
	if after.Token <= before.Token {
		t.Errorf("token %d after %d", after.Token, before.Token)
	}
	t.Logf("%d others came; the writer ran %v after the death, %v after the lease's end", came, after.At-killed, after.At-earliest)
	writer.Release()
	s.Halt()
	free(t, e)
}
