//go:build linux

package history

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// LookAtWeights fails the test if the weighted lock in key does not add up: its
// counter is the weight of the holds that it lists.
func LookAtWeights(t *testing.T, rdb redis.UniversalClient, key string) {
	t.Helper()
	members, err := rdb.ZRangeWithScores(t.Context(), key, 0, -1).Result() // one command: one instant
	if err != nil {
		t.Fatal(err)
	}
	var used, sum int64
	for _, m := range members {
		member, _ := m.Member.(string)
		switch {
		case member == "used":
			used = -int64(m.Score)
		case m.Score > 0: // "<id> <lease ms> <inbox> <weight> <limit> <holder>"
			weight, err := strconv.ParseInt(strings.Split(member, " ")[3], 10, 64)
			if err != nil {
				t.Fatalf("%q: %v", member, err)
			}
			sum += weight
		}
	}
	if used != sum {
		t.Errorf("%s counts %d, but lists %d: %v", key, used, sum, members)
	}
}

// contents writes down every key there is: a few, of one lock.
func contents(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	ctx := t.Context()
	var text strings.Builder
	now := rdb.Time(ctx).Val()
	fmt.Fprintf(&text, "%d ms, %v\n", now.UnixMilli(), rdb.PubSubChannels(ctx, "*").Val())
	for _, key := range rdb.Keys(ctx, "*").Val() {
		fmt.Fprintf(&text, "  %s, %v left\n", key, rdb.PTTL(ctx, key).Val())
		for _, m := range rdb.ZRangeWithScores(ctx, key, 0, -1).Val() {
			fmt.Fprintf(&text, "    %.0f %v\n", m.Score, m.Member)
		}
		for field, value := range rdb.HGetAll(ctx, key).Val() {
			fmt.Fprintf(&text, "    %s = %s\n", field, value)
		}
	}
	return text.String()
}
