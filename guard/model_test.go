package guard_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/guard"
)

// resource is the plain model: what a guarded register comes to.
type resource struct {
	highest int64
	value   string
	writes  int64
}

func (r *resource) passes(token int64) bool {
	if token < r.highest {
		return false
	}
	r.highest = token
	return true
}

// TestModel compares a fence with the model, over all ways to come by it: the
// highest token wins, and what is refused writes nothing.
func TestModel(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		for name, f := range map[string]*guard.Fence{
			"key": guard.New(rdb, fenceKey), "field": guard.NewField(rdb, fenceKey, "token"),
		} {
			rapid.Check(t, func(rt *rapid.T) {
				if err := rdb.FlushAll(rt.Context()).Err(); err != nil {
					rt.Fatal(err)
				}
				compare(rt, rdb, f, name == "field")
			})
		}
	})
}

func compare(rt *rapid.T, rdb *redis.Client, f *guard.Fence, field bool) {
	var r resource
	token := func(rt *rapid.T) int64 {
		near := rapid.Int64Range(max(1, r.highest-2), min(1<<53-1, r.highest+2))
		return rapid.OneOf(near, rapid.Int64Range(1, 20), rapid.Int64Range(1, 1<<53-1)).Draw(rt, "token")
	}
	judge := func(rt *rapid.T, token int64, err error) bool {
		highest := r.highest
		want := ""
		if !r.passes(token) {
			want = fmt.Sprintf("%d is below %d", token, highest)
		}
		got := ""
		if stale, ok := err.(*guard.StaleError); ok { //nolint:errorlint // these calls wrap it in nothing
			got = fmt.Sprintf("%d is below %d", stale.Token, stale.Highest)
		} else if err != nil {
			rt.Fatal(err)
		}
		if got != want {
			rt.Fatalf("token %d after %d: %q, want %q", token, highest, got, want)
		}
		return want == ""
	}
	rt.Repeat(map[string]func(*rapid.T){
		"check": func(rt *rapid.T) {
			n := token(rt)
			judge(rt, n, f.Check(rt.Context(), n))
		},
		"do": func(rt *rapid.T) {
			n, value := token(rt), rapid.StringN(0, 5, 20).Draw(rt, "value")
			_, err := f.Do(rt.Context(), n, set(value), guard.Cmd{"INCR", guard.Key("{r}:writes")})
			if judge(rt, n, err) {
				r.value = value
				r.writes++
			}
		},
		"script": func(rt *rapid.T) {
			args := []any{token(rt), -1}
			if field {
				args = append(args, "token")
			}
			err := withdraw.Run(rt.Context(), rdb, []string{fenceKey, "{r}:writes"}, args...).Err()
			if redis.HasErrorPrefix(err, "POOR") {
				err = nil
			}
			if n, _ := args[0].(int64); judge(rt, n, guard.Refusal(err)) {
				r.writes++
			}
		},
		"fence deleted": func(rt *rapid.T) {
			if err := rdb.Del(rt.Context(), fenceKey).Err(); err != nil {
				rt.Fatal(err)
			}
			r.highest = 0
		},
		"": func(rt *rapid.T) { r.mustBe(rt, rdb, field) },
	})
}

// mustBe compares all that is in Redis.
func (r *resource) mustBe(rt *rapid.T, rdb *redis.Client, field bool) {
	kept := rdb.Get(rt.Context(), fenceKey)
	if field {
		kept = rdb.HGet(rt.Context(), fenceKey, "token")
	}
	want := ""
	if r.highest > 0 {
		want = strconv.FormatInt(r.highest, 10)
	}
	if kept.Val() != want {
		rt.Fatalf("the fence keeps %q, want %q", kept.Val(), want)
	}
	value := rdb.Get(rt.Context(), string(register)).Val()
	writes, _ := rdb.Get(rt.Context(), "{r}:writes").Int64() // none: 0
	if value != r.value || writes != r.writes {
		rt.Fatalf("%q after %d writes, want %q after %d", value, writes, r.value, r.writes)
	}
}
