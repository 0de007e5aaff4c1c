package servertest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// A slot of a cluster that migrates under a lock that is held and waited for.

// slotBed is a lock on a cluster, its slot, and where that is to go.
type slotBed struct {
	t        *testing.T
	cluster  *testredis.Cluster
	name     string
	make     func(ttl time.Duration) holdfast.Locker // of a client of its own
	key      string
	slot     int
	from, to *testredis.Server
}

func newSlotBed(t *testing.T, cluster *testredis.Cluster, kind string, opts ...func(*redis.ClusterOptions)) *slotBed {
	t.Helper()
	b := &slotBed{t: t, cluster: cluster, name: strings.ReplaceAll(t.Name(), "/", ".")}
	b.key = "holdfast:" + kind + ":" + b.name
	b.make = func(ttl time.Duration) holdfast.Locker {
		return kinds[kind](newClient(t, cluster.Client(t, opts...), holdfast.WithTTL(ttl)), b.name)
	}
	b.from, b.slot = cluster.Serving(t, b.key)
	b.to = cluster.Masters[(slices.Index(cluster.Masters, b.from)+1)%len(cluster.Masters)]
	return b
}

// renewed waits until a renewal sent from now on is confirmed, without which the
// lease would be lost.
func (b *slotBed) renewed(l *holdfast.Lease) {
	b.t.Helper()
	before := l.Deadline()
	contract.Eventually(b.t, "a renewal", func() bool {
		if err := l.Err(); err != nil {
			b.t.Fatalf("the lease is lost: %v", err)
		}
		return l.Deadline().After(before)
	})
}

// keys are those of the lock, its own first or last.
func (b *slotBed) keys(ownFirst bool) []string {
	b.t.Helper()
	keys, err := b.from.Client(b.t).ClusterGetKeysInSlot(b.t.Context(), b.slot, 100).Result()
	if err != nil || !slices.Contains(keys, b.key) {
		b.t.Fatalf("keys of the slot: %q, %v", keys, err)
	}
	slices.SortFunc(keys, func(x, y string) int {
		d := cmp.Compare(len(x), len(y)) // the companions' names are longer
		if !ownFirst {
			d = -d
		}
		return d
	})
	return keys
}

// served wants the waiter to hold the lock after other did, and releases it.
func (b *slotBed) served(waiting <-chan contract.Result, other *holdfast.Lease) *holdfast.Lease {
	b.t.Helper()
	r := contract.Get(b.t, waiting)
	if r.Err != nil {
		b.t.Fatal(r.Err)
	}
	if other.Err() == nil || r.Lease.Token() <= other.Token() {
		b.t.Errorf("token %d after %d, whose lease is %v", r.Lease.Token(), other.Token(), other.Err())
	}
	contract.Release(b.t, r.Lease)
	return r.Lease
}

func TestMigration(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, false)
	for kind := range kinds {
		for order, ownFirst := range map[string]bool{"lock first": true, "companions first": false} {
			t.Run(kind+"/"+order, func(t *testing.T) {
				t.Parallel()
				slotMigrates(t, newSlotBed(t, cluster, kind), kind, ownFirst)
			})
		}
		if kind == "reentrant" {
			continue
		}
		t.Run(kind+"/half", func(t *testing.T) {
			t.Parallel()
			halfMigrated(t, newSlotBed(t, cluster, kind))
		})
		t.Run(kind+"/released half way", func(t *testing.T) {
			t.Parallel()
			releasedHalfWay(t, newSlotBed(t, cluster, kind))
		})
	}
	t.Run("reentrant/half", func(t *testing.T) {
		t.Parallel()
		reentrantHalfMigrated(t, newSlotBed(t, cluster, "reentrant"))
	})
}

// slotMigrates moves the keys one by one, as a resharding does, and nothing is
// lost: neither the hold, nor a waiter, nor the order of tokens.
func slotMigrates(t *testing.T, b *slotBed, kind string, ownFirst bool) {
	t.Helper()
	const ttl = 900 * time.Millisecond
	holder := b.make(ttl)
	lease := contract.Lock(t, holder)
	first := contract.Go(t.Context(), b.make(ttl))
	queuedBehind(t, holder, 1)
	second := contract.Go(t.Context(), b.make(ttl))
	queuedBehind(t, holder, 2)

	b.cluster.Open(t, b.slot, b.from, b.to)
	b.renewed(lease) // at the old node: it still has all that a renewal needs
	for _, key := range b.keys(ownFirst) {
		b.cluster.Move(t, b.slot, b.from, b.to, key)
		if kind != "reentrant" { // whose renewal needs two keys on one side
			b.renewed(lease)
		}
	}
	b.renewed(lease) // at the new node, which says so itself
	b.cluster.Close(t, b.slot, b.from, b.to)
	b.renewed(lease)
	contract.Release(t, lease)
	// One of the two may have lost its place meanwhile, and got another.
	results := []<-chan contract.Result{first, second}
	if kind == "reentrant" { // it was quick
		b.served(second, b.served(first, lease))
		return
	}
	b.bothServed(results, lease)
}

// bothServed wants each waiter to be served, in whatever order.
func (b *slotBed) bothServed(waiting []<-chan contract.Result, before *holdfast.Lease) {
	b.t.Helper()
	for range waiting {
		select {
		case r := <-waiting[0]:
			before = b.check(r, before)
		case r := <-waiting[1]:
			before = b.check(r, before)
		case <-time.After(30 * time.Second):
			b.t.Fatal("a waiter is not served")
		}
	}
}

func (b *slotBed) check(r contract.Result, before *holdfast.Lease) *holdfast.Lease {
	b.t.Helper()
	again := make(chan contract.Result, 1)
	again <- r
	return b.served(again, before)
}

// halfMigrated is a migration that stops half done, for several TTLs: a hold that one key keeps is
// renewed all the time, and given back. Who waits goes on waiting; who tries is told.
func halfMigrated(t *testing.T, b *slotBed) {
	t.Helper()
	const ttl = 900 * time.Millisecond
	holder, other := b.make(ttl), b.make(ttl)
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), b.make(ttl))
	queuedBehind(t, holder, 1)
	b.cluster.Open(t, b.slot, b.from, b.to)
	b.cluster.Move(t, b.slot, b.from, b.to, b.key)
	for until := time.Now().Add(3 * ttl); time.Now().Before(until); {
		b.renewed(lease)
	}
	if _, err := other.TryLock(t.Context()); !isWord(err, "TRYAGAIN") {
		t.Errorf("TryLock: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ttl)
	defer cancel()
	if _, err := other.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !isWord(err, "TRYAGAIN") {
		t.Errorf("Lock: %v", err)
	}
	b.cluster.Move(t, b.slot, b.from, b.to)
	b.cluster.Close(t, b.slot, b.from, b.to)
	b.renewed(lease)
	contract.Release(t, lease)
	b.served(waiting, lease)
}

// releasedHalfWay: a release in such a slot is refused until it gives up on telling the next waiter
// and uses the one key: the lock is free then, rather than at its TTL.
func releasedHalfWay(t *testing.T, b *slotBed) {
	t.Helper()
	const ttl = 20 * time.Second
	holder := b.make(ttl)
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), b.make(ttl))
	queuedBehind(t, holder, 1)
	b.cluster.Open(t, b.slot, b.from, b.to)
	b.cluster.Move(t, b.slot, b.from, b.to, b.key)
	began := time.Now()
	contract.Release(t, lease)
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("Release took %v", d)
	}
	if n, err := b.to.Client(t).ClusterCountKeysInSlot(t.Context(), b.slot).Result(); n != 0 || err != nil {
		t.Errorf("%d keys at the new node after the release (%v)", n, err)
	}
	b.cluster.Move(t, b.slot, b.from, b.to)
	b.cluster.Close(t, b.slot, b.from, b.to)
	b.served(waiting, lease)
}

// reentrantHalfMigrated: a reentrant lock's renewal needs two keys; half a slot for longer than its TTL
// loses it, and its holder knows before anybody else can have it.
func reentrantHalfMigrated(t *testing.T, b *slotBed) {
	t.Helper()
	const ttl = 900 * time.Millisecond
	holder := b.make(ttl)
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), b.make(ttl))
	queuedBehind(t, holder, 1)
	b.renewed(lease)
	b.cluster.Open(t, b.slot, b.from, b.to)
	b.cluster.Move(t, b.slot, b.from, b.to, b.key)
	half := time.Now()
	<-lease.Done()
	if d := time.Since(half); d < ttl/3 {
		t.Errorf("lost %v after the slot was half moved, of a TTL of %v", d, ttl)
	}
	var why *holdfast.LostError
	if err := lease.Err(); !errors.As(err, &why) || why.Reason != holdfast.LostUnreachable || !isWord(err, "TRYAGAIN") {
		t.Errorf("the lease: %v", err)
	}
	b.cluster.Move(t, b.slot, b.from, b.to)
	b.cluster.Close(t, b.slot, b.from, b.to)
	b.served(waiting, lease)
}
