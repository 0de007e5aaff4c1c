package guard_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/guard"
)

// withdraw is a script of a user's own. It reads before it writes, behind the check.
var withdraw = redis.NewScript(guard.Lua() + `
local refused = holdfast_guard(KEYS[1], ARGV[1], ARGV[3])
if refused then return refused end
local balance = tonumber(redis.call('GET', KEYS[2]) or 0)
if balance < tonumber(ARGV[2]) then return redis.error_reply('POOR ' .. balance) end
return redis.call('DECRBY', KEYS[2], ARGV[2])`)

func TestLuaInAScriptOfOnesOwn(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		run := func(token any, amount int) error {
			return guard.Refusal(withdraw.Run(t.Context(), rdb, []string{fenceKey, string(register)}, token, amount).Err())
		}
		if err := rdb.Set(t.Context(), string(register), 100, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := run(now, 30); err != nil {
			t.Fatal(err)
		}
		wantStale(t, run(now-1, 30), now-1, now)
		for _, token := range []any{0, -1, "", "x", "1.5", "nan", "inf", "-inf", "9007199254740992", "1e300"} {
			if err := run(token, 30); !errors.Is(err, holdfast.ErrInvalid) {
				t.Errorf("%v: %v", token, err)
			}
		}
		if err := run(now, 1000); !redis.HasErrorPrefix(err, "POOR") {
			t.Errorf("%v is not the script's own", err)
		}
		if got := get(t, rdb, string(register)); got != "70" {
			t.Errorf("the balance is %s", got)
		}
		wantStale(t, guard.New(rdb, fenceKey).Check(t.Context(), now-1), now-1, now)

		field := withdraw.Run(t.Context(), rdb, []string{"{r}:hash", string(register)}, now, 1, "last")
		if field.Err() != nil || rdb.HGet(t.Context(), "{r}:hash", "last").Val() != "1790000000123457" {
			t.Error(field.Err())
		}
	})
}

func TestLuaTakesNumbersToo(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, rdb *redis.Client) {
		script := redis.NewScript(guard.Lua() + "return holdfast_guard(KEYS[1], tonumber(ARGV[1]))")
		err := script.Run(t.Context(), rdb, []string{fenceKey}, now).Err()
		if !errors.Is(err, redis.Nil) { // what Redis makes of nil
			t.Fatal(err)
		}
		if got := get(t, rdb, fenceKey); got != "1790000000123457" {
			t.Fatal(got)
		}
	})
}

func TestRefusalLeavesOtherErrors(t *testing.T) {
	t.Parallel()
	other := errors.New("STALE token 1 is below 2") // not of Redis
	if got := guard.Refusal(other); !errors.Is(got, other) || errors.Is(got, guard.ErrStale) {
		t.Error(got)
	}
	if got := guard.Refusal(nil); got != nil {
		t.Error(got)
	}
}
