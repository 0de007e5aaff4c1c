package testredis_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := testredis.StartCluster(t, 3, false)
	t.Logf("formed in %v", time.Since(begin))
	rdb := c.Client(t)
	seen := map[*testredis.Server]bool{}
	for i := range 100 {
		key := strconv.Itoa(i)
		if err := rdb.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		node, _ := c.Serving(t, key)
		seen[node] = true
		if got, err := node.Client(t).Get(t.Context(), key).Result(); err != nil || got != "x" {
			t.Fatalf("%q at its node: %q, %v", key, got, err)
		}
	}
	if len(seen) != 3 {
		t.Fatalf("100 keys on %d nodes", len(seen))
	}
}

// A slot moves with its keys, and every node knows.
func TestClusterMovesSlots(t *testing.T) {
	t.Parallel()
	c := testredis.StartCluster(t, 2, false)
	rdb := c.Client(t)
	if err := rdb.MSet(t.Context(), "{x}a", "1", "{x}b", "2").Err(); err != nil {
		t.Fatal(err)
	}
	from, slot := c.Serving(t, "{x}a")
	to := c.Masters[0]
	if to == from {
		to = c.Masters[1]
	}
	c.Open(t, slot, from, to)
	c.Move(t, slot, from, to, "{x}a")
	err := from.Client(t).Get(t.Context(), "{x}a").Err()
	if err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
		t.Fatalf("a key that was moved: %v", err)
	}
	if err = from.Client(t).MGet(t.Context(), "{x}a", "{x}b").Err(); err == nil || !strings.HasPrefix(err.Error(), "TRYAGAIN ") {
		t.Fatalf("keys on both sides: %v", err)
	}
	c.Move(t, slot, from, to)
	c.Close(t, slot, from, to)
	if now, _ := c.Serving(t, "{x}a"); now != to {
		t.Fatal("the slot was not given over")
	}
	for _, key := range []string{"{x}a", "{x}b"} {
		if err := rdb.Get(t.Context(), key).Err(); err != nil {
			t.Error(err)
		}
	}
}

func TestClusterWithReplicas(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	c := testredis.StartCluster(t, 3, true)
	t.Logf("formed in %v", time.Since(begin))
	master, _ := c.Serving(t, "x")
	rdb := c.Client(t)
	if err := rdb.Set(t.Context(), "x", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	replica := c.ReplicaOf(master)
	if n, err := master.Client(t).Wait(t.Context(), 1, 10*time.Second).Result(); n != 1 {
		t.Fatal(n, err)
	}
	master.Kill()
	begin = time.Now()
	for {
		if node, _ := c.Serving(t, "x"); node == replica {
			break
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatal("the replica was not promoted")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("promoted after %v", time.Since(begin))
}
