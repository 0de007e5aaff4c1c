package guard

import (
	_ "embed" // the scripts
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed guard.lua
var guardLua string

//go:embed fence.lua
var fenceLua string

// Lua is the text of the function holdfast_guard, to be put before a script of
// one's own, which then checks and writes in one step:
//
//	var withdraw = redis.NewScript(guard.Lua() + `
//	local refused = holdfast_guard(KEYS[1], ARGV[1])
//	if refused then return refused end
//	return redis.call('DECRBY', KEYS[2], ARGV[2])`)
//
//	err := withdraw.Run(ctx, rdb, []string{"fence:{invoice:42}", "{invoice:42}:balance"}, lease.Token(), 10).Err()
//	err = guard.Refusal(err)
//
// holdfast_guard(key, token) keeps the token in a string of its own, as [New] does;
// holdfast_guard(key, token, field) in the field of a hash, as [NewField] does. The
// key must be one of KEYS. It returns nil if the token passes, else an error reply
// for the script to return. The text has no "#!lua" line; a script cannot have one
// after it.
//
// go-redis sends a script again when its answer was lost. The check does not mind;
// whether what follows it may run twice is the script's affair.
func Lua() string { return guardLua }

// Refusal makes what holdfast_guard answered into the errors of this package: a
// [StaleError], or one that Is holdfast.ErrInvalid if the token was none. Any other
// error, or nil, is returned as it is.
func Refusal(err error) error {
	switch {
	case redis.HasErrorPrefix(err, "BADTOKEN"):
		return invalid("%w", err)
	case redis.HasErrorPrefix(err, "STALE"):
		if stale, ok := parseStale(err.Error()); ok {
			return stale
		}
	}
	return err
}

// parseStale reads "STALE token 17 is below 18", at the head of an error's text.
func parseStale(text string) (*StaleError, bool) {
	var stale StaleError
	read, _ := fmt.Sscanf(text, "STALE token %d is below %d", &stale.Token, &stale.Highest)
	return &stale, read > 0 // what is kept may be too long a number for any token
}

// refusal is Refusal for the fence called what.
func refusal(what string, err error) error {
	if stale, ok := Refusal(err).(*StaleError); ok { //nolint:errorlint // made just there
		stale.Resource = what
		return stale
	}
	return fmt.Errorf("guard: %s: %w", what, err)
}
