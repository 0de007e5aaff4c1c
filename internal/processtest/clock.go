//go:build linux

package processtest

import (
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/contract"
)

// Monotonic reads CLOCK_MONOTONIC, which is one clock for all processes of a
// machine, runs on while a process is stopped, and is what Go's own monotonic
// time is on Linux. Package time gives no reading of it that another process
// could compare.
func Monotonic() time.Duration {
	const clockMonotonic = 1
	var now syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		panic(errno)
	}
	return time.Duration(now.Nano())
}

// At is that time by the clock of Monotonic, or a little before.
func At(t time.Time) time.Duration {
	now := Monotonic() // first: what passes between the two readings makes it earlier
	return now + time.Until(t)
}

// Await returns once that time has come.
func Await(t *testing.T, at time.Duration) {
	t.Helper()
	contract.Eventually(t, "the time to come", func() bool { return Monotonic() > at })
}

// Settle returns when Redis has executed what reached it before. Replies are
// written after all that was there to be read in the same turn.
func Settle(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// KeyEnd says between which times the key ends in Redis, if nobody renews it any
// more. Redis counts milliseconds.
func KeyEnd(t *testing.T, rdb redis.UniversalClient, key string) (earliest, latest time.Duration) {
	t.Helper()
	Settle(t, rdb) // a renewal may have been under way
	before := Monotonic()
	left, err := rdb.PTTL(t.Context(), key).Result()
	after := Monotonic()
	if err != nil || left < 0 {
		t.Fatalf("%s is not held: PTTL %v, %v", key, left, err)
	}
	return before + left - time.Millisecond, after + left + time.Millisecond
}

// HoldEnd is KeyEnd for one hold of many: the member of the sorted set in key
// that begins with the id of the lease. Its score is by the clock of Redis.
func HoldEnd(t *testing.T, rdb redis.UniversalClient, key, id string) (earliest, latest time.Duration) {
	t.Helper()
	Settle(t, rdb)
	holds, err := rdb.ZRangeWithScores(t.Context(), key, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	before := Monotonic()
	now, err := rdb.Time(t.Context()).Result()
	after := Monotonic()
	if err != nil {
		t.Fatal(err)
	}
	for _, hold := range holds {
		if member, _ := hold.Member.(string); hold.Score > 0 && len(member) > len(id) && member[:len(id)+1] == id+" " {
			left := time.UnixMilli(int64(hold.Score)).Sub(now)
			return before + left - time.Millisecond, after + left + time.Millisecond
		}
	}
	t.Fatalf("%s does not hold %s", id, key)
	return 0, 0
}
