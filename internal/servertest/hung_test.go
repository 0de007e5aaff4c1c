package servertest_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// A master that hangs costs the leases in its slots, and no other. Not beside other
// tests: it counts goroutines.
func TestHungMasterCostsItsOwnLeases(t *testing.T) {
	// It must not count as failed: what is tested is how the client takes it.
	cluster := testredis.StartCluster(t, 3, false, "--cluster-node-timeout", "60000")
	for _, heeds := range []bool{true, false} {
		t.Logf("ContextTimeoutEnabled: %v", heeds)
		client := newClient(t, cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = heeds }))
		hungMaster(t, cluster, client)
		if err := client.Close(t.Context()); err != nil { // the next one takes the same locks
			t.Error(err)
		}
	}
}

func hungMaster(t *testing.T, cluster *testredis.Cluster, c *holdfast.Client) {
	t.Helper()
	const ttl = 900 * time.Millisecond
	const leases = 90
	hung := cluster.Masters[1]
	var lost, kept []*holdfast.Lease
	for i := range leases {
		// Some last longer: their pipelines are apart, and hang longer.
		l := mutex.New(c, fmt.Sprintf("lock %d", i), holdfast.WithTTL(ttl<<(i%3)))
		lease := contract.Lock(t, l)
		if node, _ := cluster.Serving(t, "holdfast:mutex:"+l.Name()); node == hung {
			lost = append(lost, lease)
		} else {
			kept = append(kept, lease)
		}
	}
	if len(lost) < leases/5 || len(kept) < leases/3 {
		t.Fatalf("%d locks on one node, %d on two", len(lost), len(kept))
	}
	before := runtime.NumGoroutine()
	hung.Pause()
	defer hung.Resume()
	paused, most := time.Now(), 0
	var worst time.Duration // left of a lease that is renewed
	for worst = ttl; time.Since(paused) < 4*ttl+ttl/2; time.Sleep(5 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine())
		for _, l := range kept {
			worst = min(worst, time.Until(l.Deadline()))
			if err := l.Err(); err != nil {
				t.Fatalf("a lease on another node is lost %v after the pause: %v", time.Since(paused), err)
			}
		}
	}
	t.Logf("%d leases kept, never less than %v of %v left; %d lost; %d goroutines at most, %d before",
		len(kept), worst, ttl, len(lost), most, before)
	for _, l := range lost {
		var why *holdfast.LostError
		if err := l.Err(); !errors.As(err, &why) || why.Reason != holdfast.LostUnreachable {
			t.Errorf("a lease on the node that hangs: %v", err)
		}
	}
	// At most four pipelines to each node, in each of which go-redis has a goroutine
	// more, and its connections being made.
	if most > before+3*4*2+8 {
		t.Errorf("%d goroutines, %d before", most, before)
	}
}
