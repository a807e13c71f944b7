package monitor

import "sync/atomic"

// A budget limits the memory of all connections together.
type budget struct{ used atomic.Int64 }

// acquire reserves n bytes, and reports whether they were free.
func (b *budget) acquire(n int) bool {
	if b.used.Add(int64(n)) > maxMemory {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

// reserve reserves n bytes, even beyond the limit. It is for small parts, whose number is limited.
func (b *budget) reserve(n int) { b.used.Add(int64(n)) }

// release ends a reservation of n bytes.
func (b *budget) release(n int) { b.used.Add(int64(-n)) }
