package main

import (
	"errors"
	"math"

	"pix/nixconf"
)

// minSize is the smallest size of a memory budget or a directory of archives, in bytes. With such a budget, the server
// accepts every upload.
const minSize = 16 << 20

// sizeFlag returns the function that sets a flag whose value is a size.
func sizeFlag(size *int64) func(value string) error {
	return func(value string) error {
		n, err := nixconf.ParseSize(value)
		switch {
		case err != nil:
			return err
		case n < minSize || n > math.MaxInt64/4:
			return errors.New("it must be at least 16M")
		}
		*size = int64(n)
		return nil
	}
}
