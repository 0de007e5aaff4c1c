package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Waits says how long the acquires took that succeeded, by what they asked for.
func Waits(ops []Op) string {
	by := make(map[string][]time.Duration)
	for _, o := range ops {
		if o.Asked > 0 {
			by[o.What] = append(by[o.What], o.From-o.Asked)
		}
	}
	var text strings.Builder
	for _, what := range slices.Sorted(maps.Keys(by)) {
		all := by[what]
		slices.Sort(all)
		fmt.Fprintf(&text, "\n\t%-12q %6d times, median %v, longest %v", what, len(all),
			all[len(all)/2].Round(10*time.Microsecond), all[len(all)-1].Round(10*time.Microsecond))
	}
	return text.String()
}
