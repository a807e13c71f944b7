package monitor

import "sync/atomic"

// A budget limits the memory of all connections together.
type budget struct{ used atomic.Int64 }

// take reserves n bytes, if they are free.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) > maxMemory {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.used.Add(int64(-n)) }
