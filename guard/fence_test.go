package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
)

const (
	fenceKey = "fence:{r}"
	register = guard.Key("{r}:register")

	// now is a token as leases have them: more digits than tostring of Lua prints.
	now = int64(1_790_000_000_123_457)
)

func set(value any) guard.Cmd { return guard.Cmd{"SET", register, value} }

func get(t *testing.T, rdb redis.Cmdable, key string) string {
	t.Helper()
	value, err := rdb.Get(t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return value
}

// wantStale wants the refusal, with its numbers.
func wantStale(t *testing.T, err error, token, highest int64) {
	t.Helper()
	var stale *guard.StaleError
	if !errors.Is(err, guard.ErrStale) || !errors.As(err, &stale) || stale.Token != token || stale.Highest != highest {
		t.Fatalf("%v, want the refusal of %d below %d", err, token, highest)
	}
	if errors.Is(err, holdfast.ErrInvalid) {
		t.Fatalf("%v is also ErrInvalid", err)
	}
}

func TestFenceKeepsTheHighestToken(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		for name, f := range map[string]*guard.Fence{
			"key": guard.New(rdb, fenceKey), "field": guard.NewField(rdb, "{r}:hash", "last_token"),
		} {
			seen := int64(0)
			for _, token := range []int64{1, 9, 10, 9, 10, now, now - 1, 999, now, now + 1, now, 1<<53 - 2, 1<<53 - 1, 1<<53 - 2} {
				err := f.Check(t.Context(), token)
				if token < seen {
					wantStale(t, err, token, seen)
				} else if err != nil {
					t.Fatalf("%s: %d after %d: %v", name, token, seen, err)
				}
				seen = max(seen, token)
			}
		}
		const want = "9007199254740991"
		if got := get(t, rdb, fenceKey); got != want {
			t.Errorf("the fence keeps %q", got)
		}
		if got := rdb.HGet(t.Context(), "{r}:hash", "last_token").Val(); got != want {
			t.Errorf("the field keeps %q", got)
		}
		if got := rdb.TTL(t.Context(), fenceKey).Val(); got != -1 {
			t.Errorf("the fence has a TTL of %v", got)
		}
	})
}

func TestDoWritesOnlyWhatPasses(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		f := guard.New(rdb, fenceKey)
		if _, err := f.Do(t.Context(), now, set("first")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Do(t.Context(), now-1, set("late"), guard.Cmd{"DEL", guard.Key("{r}:other")}); err == nil {
			t.Fatal("a lower token passed")
		} else {
			wantStale(t, err, now-1, now)
			if text := err.Error(); !strings.Contains(text, fenceKey) {
				t.Errorf("%q does not name the fence", text)
			}
		}
		if got := get(t, rdb, string(register)); got != "first" {
			t.Fatalf("refused, and wrote %q", got)
		}
		if _, err := f.Do(t.Context(), now, set("again")); err != nil {
			t.Fatal(err) // one holder writes many times
		}
		if _, err := f.Do(t.Context(), now+1, set("next")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Do(t.Context(), now, set("late")); !errors.Is(err, guard.ErrStale) {
			t.Fatal(err) // what Do let pass is remembered too
		}
		if got := get(t, rdb, string(register)); got != "next" {
			t.Fatalf("%q", got)
		}
	})
}

func TestDoRepliesAsGoRedisDoes(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		f := guard.New(rdb, fenceKey)
		replies, err := f.Do(t.Context(), now,
			set([]byte("text")),
			guard.Cmd{"GET", register},
			guard.Cmd{"GET", guard.Key("{r}:missing")},
			guard.Cmd{"RPUSH", guard.Key("{r}:list"), 1, "", "two words"},
			guard.Cmd{"LRANGE", guard.Key("{r}:list"), 0, -1},
			guard.Cmd{"INCRBYFLOAT", guard.Key("{r}:float"), 1.5},
		)
		if err != nil || len(replies) != 6 {
			t.Fatal(replies, err)
		}
		if got, failed := replies[0].Text(); failed != nil || got != "OK" {
			t.Error(got, failed)
		}
		if got, failed := replies[1].Text(); failed != nil || got != "text" {
			t.Error(got, failed)
		}
		if failed := replies[2].Err(); !errors.Is(failed, redis.Nil) {
			t.Error(failed)
		}
		if got, failed := replies[3].Int64(); failed != nil || got != 3 {
			t.Error(got, failed)
		}
		if got, failed := replies[4].StringSlice(); failed != nil || strings.Join(got, "|") != "1||two words" {
			t.Error(got, failed)
		}
		if got, failed := replies[5].Float64(); failed != nil || got != 1.5 {
			t.Error(got, failed)
		}
		if got := replies[1].Args(); len(got) != 2 || got[1] != string(register) {
			t.Error(got)
		}
	})
}

func TestDoStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		f := guard.New(rdb, fenceKey)
		replies, err := f.Do(t.Context(), now, set("text"), guard.Cmd{"LPUSH", register, 1}, set("after"))
		if !redis.HasErrorPrefix(err, "WRONGTYPE") || !strings.Contains(err.Error(), "command 2, LPUSH") {
			t.Fatal(err)
		}
		if len(replies) != 2 || replies[0].Err() != nil || !redis.HasErrorPrefix(replies[1].Err(), "WRONGTYPE") {
			t.Fatal(replies)
		}
		if got := get(t, rdb, string(register)); got != "text" {
			t.Errorf("the register is %q", got)
		}
		wantStale(t, f.Check(t.Context(), now-1), now-1, now)
	})
}

func TestDoHandsOverManyWords(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		f := guard.New(rdb, fenceKey)
		push := guard.Cmd{"RPUSH", guard.Key("{r}:list")}
		for len(push) < 4000 {
			push = append(push, len(push))
		}
		replies, err := f.Do(t.Context(), now, push, push)
		if err != nil {
			t.Fatal(err)
		}
		if got := replies[1].Val(); got != int64(2*3998) {
			t.Error(got)
		}
		if _, err := f.Do(t.Context(), now+1, append(push, 1)); !errors.Is(err, holdfast.ErrInvalid) {
			t.Error(err)
		}
		if got := get(t, rdb, fenceKey); got != "1790000000123457" {
			t.Error(got)
		}
	})
}

// What is kept may be no token: then nothing passes, rather than everything.
func TestFenceThatIsNone(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		f := guard.New(rdb, fenceKey)
		for _, kept := range []string{"", "abc", "nan", "-5", "1e99", "12 "} {
			if err := rdb.Set(t.Context(), fenceKey, kept, 0).Err(); err != nil {
				t.Fatal(err)
			}
			_, err := f.Do(t.Context(), now, set("written"))
			if !redis.HasErrorPrefix(err, "BADFENCE") || errors.Is(err, guard.ErrStale) {
				t.Errorf("%q: %v", kept, err)
			}
			if got := get(t, rdb, fenceKey); got != kept {
				t.Errorf("%q became %q", kept, got)
			}
		}
		if _, err := guard.NewField(rdb, fenceKey, "x").Do(t.Context(), now, set("written")); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Error(err)
		}
		if got := get(t, rdb, string(register)); got != "" {
			t.Errorf("wrote %q", got)
		}
		if err := rdb.Set(t.Context(), fenceKey, "99999999999999999999", 0).Err(); err != nil {
			t.Fatal(err)
		}
		wantStale(t, f.Check(t.Context(), now), now, 0)
	})
}
