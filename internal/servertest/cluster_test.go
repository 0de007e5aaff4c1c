package servertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// Masters of a cluster that die, with and without somebody to take their place.

// slowest is a BackOff that leaves all to the wake-ups.
type slowest struct{}

func (slowest) NextBackOff() time.Duration { return time.Hour }
func (slowest) Reset()                     {}

func neverPolls() holdfast.BackOff { return slowest{} }

// Wake-ups cross the cluster: whatever node a lock is on, and whatever node its
// waiter has subscribed at.
func TestWakeUpsReachEveryNode(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, false)
	type pair struct{ lock, inbox *testredis.Server }
	seen := map[pair]int{}
	holder := newClient(t, cluster.Client(t))
	for i := 0; len(seen) < 9; i++ {
		if i == 200 {
			t.Fatalf("%d of 9 pairs of nodes came about", len(seen))
		}
		// A client's channel is by its own random id.
		waiter := newClient(t, cluster.Client(t), holdfast.WithBackOff(neverPolls))
		for j := range 5 {
			name := fmt.Sprintf("%d.%d", i, j)
			lease := contract.Lock(t, mutex.New(holder, name))
			waiting := contract.Go(t.Context(), mutex.New(waiter, name))
			node, _ := cluster.Serving(t, "holdfast:mutex:"+name)
			var inbox *testredis.Server
			contract.Eventually(t, "the waiter to listen", func() bool {
				inbox = subscribed(t, cluster.Masters)
				return inbox != nil
			})
			queuedBehind(t, mutex.New(holder, name), 1)
			released := time.Now()
			contract.Release(t, lease)
			r := contract.Get(t, waiting)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if d := time.Since(released); d > 5*time.Second { // a poll comes after 10 s
				t.Errorf("served after %v", d)
			}
			contract.Release(t, r.Lease)
			seen[pair{node, inbox}]++
		}
		if err := waiter.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// subscribed is the node at which the one client listens.
func subscribed(t *testing.T, nodes []*testredis.Server) *testredis.Server {
	t.Helper()
	for _, s := range nodes {
		if n, err := s.Client(t).PubSubChannels(t.Context(), "holdfast:inbox:*").Result(); err == nil && len(n) == 1 {
			return s
		}
	}
	return nil
}

// A master dies and its replica takes over: what was replicated is still held,
// renewed and waited for; a short lease ends by its holder's own clock first.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*testredis.Server){
		"killed": (*testredis.Server).Kill,
		"hung":   (*testredis.Server).Pause, // what is sent to it waits for a timeout
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clusterFailover(t, testredis.StartCluster(t, 3, true), stop)
		})
	}
}

func clusterFailover(t *testing.T, cluster *testredis.Cluster, stop func(*testredis.Server)) {
	t.Helper()
	const long, short = 15 * time.Second, time.Second // promotion takes about four
	heed := func(o *redis.ClusterOptions) {           // as docs/operations.md advises
		o.ContextTimeoutEnabled, o.ReadTimeout = true, time.Second
	}
	b := newSlotBed(t, cluster, "mutex", heed)
	holder := b.make(long)
	lease := contract.Lock(t, holder)
	waiting := contract.Go(t.Context(), b.make(long))
	queuedBehind(t, holder, 1)
	// Another lock of the same master, held for less than the promotion takes.
	brief := newSlotBed(t, cluster, "semaphore", heed)
	brief.name = "{" + b.key + "}" + brief.name
	briefly := contract.Lock(t, brief.make(short))
	next := contract.Go(t.Context(), brief.make(short))
	if n, err := b.from.Client(t).Wait(t.Context(), 1, 10*time.Second).Result(); n != 1 {
		t.Fatalf("%d replicas have it: %v", n, err)
	}

	stop(b.from)
	stopped := time.Now()
	<-briefly.Done()
	if !errors.Is(briefly.Err(), holdfast.ErrLost) || time.Now().Before(briefly.Deadline()) {
		t.Errorf("the brief lease, %v after the master stopped: %v", time.Since(stopped), briefly.Err())
	}
	brief.served(next, briefly)
	t.Logf("the next holder of the brief lock after %v", time.Since(stopped))
	b.renewed(lease)
	t.Logf("renewed at the new master after %v", time.Since(stopped))
	if node, _ := cluster.Serving(t, b.key); node != cluster.ReplicaOf(b.from) {
		t.Error("the slot is not the replica's")
	}
	contract.Release(t, lease)
	b.served(waiting, lease)
}

// The node at which a client hears of its wake-ups dies, and no other that it talks
// to: it finds the replica that took over, and is woken again.
func TestInboxFollowsFailover(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, true)
	waiter, holder := newClient(t, cluster.Client(t)), newClient(t, cluster.Client(t))
	var inbox *testredis.Server
	for i := 0; ; i++ { // until the lock is at another node than the inbox
		name := fmt.Sprintf("lock %d", i)
		lease := contract.Lock(t, mutex.New(holder, name))
		waiting := contract.Go(t.Context(), mutex.New(waiter, name))
		contract.Eventually(t, "the waiter to listen", func() bool {
			inbox = subscribed(t, cluster.Masters)
			return inbox != nil
		})
		if node, _ := cluster.Serving(t, "holdfast:mutex:"+name); node != inbox {
			inbox.Kill()
			contract.Within(t, 30*time.Second, "the waiter to listen at the replica", func() bool {
				return subscribed(t, []*testredis.Server{cluster.ReplicaOf(inbox)}) != nil
			})
			contract.Release(t, lease)
			contract.Release(t, contract.Get(t, waiting).Lease)
			return
		}
		contract.Release(t, lease)
		contract.Release(t, contract.Get(t, waiting).Lease)
	}
}

// A master without a replica dies. Where a cluster must be whole (the default), all
// of it refuses; where not, only the slots of the dead. Leases are lost by their own
// clock, waits are bounded by their contexts, and go on when the master is back.
func TestMasterWithoutReplicaDies(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{"yes", "no"} {
		t.Run("full coverage "+whole, func(t *testing.T) {
			t.Parallel()
			masterDies(t, testredis.StartCluster(t, 3, false, "--cluster-require-full-coverage", whole), whole == "yes")
		})
	}
}

func masterDies(t *testing.T, cluster *testredis.Cluster, whole bool) {
	t.Helper()
	const ttl = 2 * time.Second
	c := newClient(t, cluster.Client(t), holdfast.WithTTL(ttl))
	dying := cluster.Masters[0]
	var there, elsewhere string
	for i := 0; there == "" || elsewhere == ""; i++ {
		name := fmt.Sprintf("lock %d", i)
		if node, _ := cluster.Serving(t, "holdfast:mutex:"+name); node == dying {
			there = name
		} else {
			elsewhere = name
		}
	}
	lost, kept := contract.Lock(t, mutex.New(c, there)), contract.Lock(t, mutex.New(c, elsewhere))
	waiting := contract.Go(t.Context(), mutex.New(newClient(t, cluster.Client(t)), there))
	dying.Kill()

	<-lost.Done()
	if !errors.Is(lost.Err(), holdfast.ErrLost) || time.Now().Before(lost.Deadline()) {
		t.Errorf("the lease at the dead master: %v", lost.Err())
	}
	contract.Eventually(t, "the others to see it", func() bool {
		info, err := cluster.Masters[1].Client(t).ClusterInfo(t.Context()).Result()
		return err == nil && !strings.Contains(info, "cluster_slots_fail:0\r")
	})
	if whole {
		if _, err := mutex.New(newClient(t, cluster.Client(t)), elsewhere).TryLock(t.Context()); !isWord(err, "CLUSTERDOWN") {
			t.Errorf("TryLock at a living master of a cluster that must be whole: %v", err)
		}
		<-kept.Done()
		if err := kept.Err(); !errors.Is(err, holdfast.ErrLost) || !isWord(err, "CLUSTERDOWN") || time.Now().Before(kept.Deadline()) {
			t.Errorf("a lease at a living master of a cluster that must be whole: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := mutex.New(c, there).Lock(ctx)
	if d := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || d > 3*time.Second {
		t.Errorf("Lock until a deadline in a second: %v after %v", err, d)
	}
	if err := kept.Err(); !whole && err != nil {
		t.Errorf("a lease at a living master: %v", err)
	}
	dying.Restart()
	r := contract.Get(t, waiting)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if r.Lease.Token() <= lost.Token() {
		t.Errorf("token %d after %d", r.Lease.Token(), lost.Token())
	}
	contract.Release(t, r.Lease)
}
