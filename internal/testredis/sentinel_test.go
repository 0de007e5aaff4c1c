package testredis_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// A killed master is followed by its replica, and comes back as that one's.
func TestSentinels(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	s := testredis.StartSentinels(t)
	t.Logf("up after %v", time.Since(begin))
	rdb := s.Client(t)
	if err := rdb.Set(t.Context(), "x", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Master.Client(t).Wait(t.Context(), 1, 10*time.Second).Result(); n != 1 {
		t.Fatal(n, err)
	}
	begin = time.Now()
	s.Master.Kill()
	s.AwaitMaster(t, s.Replica)
	t.Logf("promoted after %v", time.Since(begin))
	for err := rdb.Set(t.Context(), "x", "2", 0).Err(); err != nil; err = rdb.Set(t.Context(), "x", "2", 0).Err() {
		if time.Since(begin) > 30*time.Second {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("written to after %v", time.Since(begin))
	begin = time.Now()
	s.Master.Restart()
	s.AwaitReplica(t, s.Master)
	t.Logf("demoted after %v", time.Since(begin))
	if got := s.Master.Client(t).Get(t.Context(), "x").Val(); got != "2" {
		t.Errorf("the old master has %q", got)
	}
}
