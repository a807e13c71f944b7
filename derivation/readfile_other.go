//go:build !unix

package derivation

import "os"

// readFile returns the contents of a file, and buf, which it has no use for.
func readFile(name string, buf []byte) (text string, _ []byte, err error) {
	b, err := os.ReadFile(name)
	return string(b), buf, err
}
