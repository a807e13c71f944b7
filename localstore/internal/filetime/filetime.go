// Package filetime decides whether the times of a file will show every later change of the file.
package filetime

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Settled is the age at which a change has a different time than any later change. Changes within one tick of the
	// file system's clock have the same time.
	Settled = 100 * time.Millisecond

	// coarselySettled is the same for clocks that seem to count whole or even seconds.
	coarselySettled = 3 * time.Second
)

// IsSettled reports whether a change after now will have a different time than the last change.
func IsSettled(changed unix.Timespec, now time.Time) bool {
	since := now.Sub(time.Unix(changed.Unix()))
	if changed.Nsec == 0 {
		return since >= coarselySettled
	}
	return since >= Settled
}
