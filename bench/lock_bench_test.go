package main_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/bench/internal/library"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// What one uncontended Lock and Release allocates, server and network aside: the
// time is better read off `make bench`, which runs the libraries in turn.
//
//	go test -run '^$' -bench LockRelease -cpuprofile cpu.prof
func BenchmarkLockRelease(b *testing.B) {
	for _, l := range library.All() {
		if l.Remote() || l.Name == "publish" || l.Name == "bsm-100ms" || l.Name == "bsm-renewed" {
			continue // nothing of ours to see, or the same as another
		}
		b.Run(l.Name, func(b *testing.B) {
			server := testredis.Start(b)
			locker, err := l.Open(b.Context(), library.Config{Addr: server.Addr()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = locker.Close() }()
			lock := locker.Lock("shared")
			b.ReportAllocs()
			for b.Loop() {
				held, err := lock.Acquire(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if err := held.Release(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
