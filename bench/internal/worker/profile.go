package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// profile begins the profiles that the job asks for; the function writes them.
func (w *worker) profile() (stop func() error, err error) {
	if w.Profile == "" {
		return func() error { return nil }, nil
	}
	name := filepath.Join(w.Profile, fmt.Sprintf("%s-%s-%d-of-%d-%d", w.Library, w.Work, w.Process, w.Processes, os.Getpid()))
	cpu, err := os.Create(name + ".cpu.prof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		mem, err := os.Create(name + ".mem.prof")
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(mem, 0), mem.Close())
	}, nil
}
