// Package sizes formats numbers of bytes as Nix does.
package sizes

import "fmt"

const units = "KMGTPE"

// Spell returns a number of bytes as Nix prints it, such as "1.5 MiB". The smallest unit is KiB.
func Spell(n int64) string {
	unit, denominator := 0, 1024.0
	for rest := max(n, -n) / 1024; rest > 1024 && unit < len(units)-1; rest /= 1024 {
		unit++
		denominator *= 1024
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/denominator, units[unit])
}
