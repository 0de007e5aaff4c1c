package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// pair is a master and its replica.
type pair struct {
	*contract.Env
	replica *testredis.Server
	copied  *redis.Client // of the replica
}

func startPair(t *testing.T) *pair {
	t.Helper()
	master := testredis.Start(t)
	replica := testredis.StartReplica(t, master)
	return &pair{
		Env:     &contract.Env{Addr: master.Addr(), Redis: master.Client(t), Real: master},
		replica: replica, copied: replica.Client(t),
	}
}

// TestReplicas: an acquire counts once the replica has it, be it free, handed
// over or found by a poll; short of that it is given back, and Lock tries on.
func TestReplicas(t *testing.T) {
	t.Parallel()
	for name, maker := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPair(t)
			p.New, p.Name = maker, name
			one := holdfast.WithReplicas(1, 100*time.Millisecond)
			c, other := p.Client(t), p.Client(t)
			l := p.New(c, "kept", one)

			lease := contract.Lock(t, l)
			if n := p.copied.Exists(t.Context(), "holdfast:"+name+":kept").Val(); n != 1 {
				t.Error("acquired before the replica had it")
			}
			contract.Release(t, lease)

			var short *holdfast.ReplicasError
			_, err := p.New(c, "kept", holdfast.WithReplicas(2, 50*time.Millisecond)).TryLock(t.Context())
			if !errors.As(err, &short) || short.Wanted != 2 || short.Acknowledged != 1 || errors.Is(err, holdfast.ErrNotAcquired) {
				t.Errorf("two replicas of one: %v", err)
			}
			p.NothingLeft(t)

			// What is handed over counts no sooner than the replica has it.
			lease = contract.Lock(t, p.New(other, "kept"))
			waiting := contract.Go(t.Context(), l)
			p.AwaitWaiters(t, p.New(other, "kept"), 1)
			p.replica.Pause()
			contract.Release(t, lease)
			for i := range 20 { // each on a connection that may have written nothing yet
				if _, err = p.New(p.Client(t), fmt.Sprint("tried", i), holdfast.WithReplicas(1, 10*time.Millisecond)).TryLock(t.Context()); !errors.As(err, &short) {
					t.Fatalf("TryLock while the replica is stopped: %v", err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err = p.New(c, "other", one).Lock(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &short) {
				t.Errorf("Lock until its context ended: %v", err)
			}
			_, err = p.New(c, "other", one, holdfast.WithMaxWait(2*time.Second)).Lock(t.Context())
			if errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &short) {
				t.Errorf("Lock until WithMaxWait: %v", err)
			}
			select {
			case r := <-waiting:
				t.Fatalf("served although the replica is stopped: %+v", r)
			default:
			}
			p.replica.Resume()
			r := contract.Get(t, waiting)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if n := p.copied.Exists(t.Context(), "holdfast:"+name+":kept").Val(); n != 1 {
				t.Error("served before the replica had it")
			}
			contract.Release(t, r.Lease)
			p.NothingLeft(t)
		})
	}
}

// TestReplicasOfRenewals: only what the replica has moves the deadline.
func TestReplicasOfRenewals(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	m := mutex.New(p.Client(t), "kept", holdfast.WithTTL(1200*time.Millisecond), holdfast.WithReplicas(1, 20*time.Millisecond))
	lease := contract.Lock(t, m)
	first := lease.Deadline()
	contract.Eventually(t, "a renewal", func() bool { return lease.Deadline().After(first) })
	p.replica.Pause()
	var short *holdfast.ReplicasError
	if err := lease.Renew(t.Context()); !errors.As(err, &short) || errors.Is(err, holdfast.ErrLost) {
		t.Errorf("Renew while the replica is stopped: %v", err)
	}
	last := lease.Deadline()
	<-lease.Done()
	if late := time.Since(last); lease.Deadline() != last || late < 0 {
		t.Errorf("ended %v after a deadline that moved by %v", late, lease.Deadline().Sub(last))
	}
	var lost *holdfast.LostError
	if err := lease.Err(); !errors.As(err, &lost) || lost.Reason != holdfast.LostUnreachable || !errors.As(err, &short) {
		t.Errorf("Err: %v", lease.Err())
	}
	p.replica.Resume()
}

// TestReplicasKeepNobodyBack: while renewals wait for a replica that is gone, leases
// that need none are renewed.
func TestReplicasKeepNobodyBack(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	c := p.Client(t)
	for i := range 40 {
		m := mutex.New(c, strconv.Itoa(i), holdfast.WithTTL(3*time.Second), holdfast.WithReplicas(1, time.Second))
		l := contract.Lock(t, m)
		defer func() { _ = l.Release(t.Context()) }()
		time.Sleep(25 * time.Millisecond)
	}
	p.replica.Pause()
	defer p.replica.Resume()
	plain := contract.Lock(t, mutex.New(c, "plain", holdfast.WithTTL(600*time.Millisecond)))
	select {
	case <-plain.Done():
		t.Errorf("lost: %v", plain.Err())
	case <-time.After(2500 * time.Millisecond):
	}
	contract.Release(t, plain)
}

// TestReplicasWithoutScripts: a server that forgot its scripts counts all the same.
func TestReplicasWithoutScripts(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	m := mutex.New(p.Client(t), "kept", holdfast.WithReplicas(1, 200*time.Millisecond))
	for range 3 {
		lease := contract.Lock(t, m)
		p.Redis.ScriptFlush(t.Context())
		if err := lease.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		contract.Release(t, lease)
	}
}

func TestReplicasRefused(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	rdb := redis.NewClient(&redis.Options{Addr: p.Addr, ReadTimeout: 2 * time.Second})
	t.Cleanup(func() { _ = rdb.Close() })
	for _, c := range []struct {
		opts []holdfast.Option
		says []string
	}{
		{[]holdfast.Option{holdfast.WithReplicas(0, time.Second)}, []string{"WithReplicas(0, 1s)"}},
		{[]holdfast.Option{holdfast.WithReplicas(-1, time.Second)}, []string{"WithReplicas(-1, 1s)"}},
		{[]holdfast.Option{holdfast.WithReplicas(1, 0)}, []string{"WithReplicas(1, 0s)"}},
		{[]holdfast.Option{holdfast.WithReplicas(1, -time.Second)}, []string{"WithReplicas(1, -1s)"}},
		{[]holdfast.Option{holdfast.WithReplicas(1, 1500*time.Microsecond)}, []string{"WithReplicas(1, 1.5ms)"}},
		{[]holdfast.Option{holdfast.WithReplicas(1, time.Second), holdfast.WithTTL(2 * time.Second)}, []string{"WithReplicas(1, 1s)", "WithTTL(2s)"}},
		{[]holdfast.Option{holdfast.WithReplicas(1, 2*time.Second)}, []string{"WithReplicas(1, 2s)", "ReadTimeout, 2s"}},
	} {
		check := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, holdfast.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%s: %v does not say %q", what, err, s)
				}
			}
		}
		_, err := holdfast.New(rdb, c.opts...)
		check("New", err)
		plain, err := holdfast.New(rdb)
		if err != nil {
			t.Fatal(err)
		}
		_, err = mutex.New(plain, "m", c.opts...).TryLock(t.Context())
		check("TryLock", err)
		_ = plain.Close(t.Context())
	}
	wrapped, err := holdfast.New(struct{ redis.UniversalClient }{rdb})
	if err != nil {
		t.Fatal(err)
	}
	_, err = mutex.New(wrapped, "m", holdfast.WithReplicas(1, time.Second)).TryLock(t.Context())
	if !errors.Is(err, holdfast.ErrInvalid) {
		t.Errorf("on a client that nobody knows: %v", err)
	}
	_ = wrapped.Close(t.Context())
}
