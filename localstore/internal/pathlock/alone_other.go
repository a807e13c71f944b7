//go:build !linux

package pathlock

import "os"

const canBeAlone = false

func isAlone(*os.File) (bool, error) { return false, nil }
