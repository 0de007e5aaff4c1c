//go:build linux

package history

import (
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// LookAtWeights fails the test if the weighted lock in key does not add up: its
// counter is the weight of the holds that it lists.
func LookAtWeights(t *testing.T, rdb *redis.Client, key string) {
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
