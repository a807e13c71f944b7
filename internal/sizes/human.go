package sizes

import "fmt"

// Human returns a number of bytes for people, such as "12 bytes" or "2.0 KiB".
func Human(n uint64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1023.95 && i < len(units)-1; i++ { // 1023.95 would be rounded to 1024.0
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
