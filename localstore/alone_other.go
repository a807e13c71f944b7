//go:build !linux

package localstore

import "os"

const canBeAlone = false

func isAlone(*os.File) (bool, error) { return false, nil }
