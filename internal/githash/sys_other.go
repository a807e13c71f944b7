//go:build !unix

package githash

// noFollow is empty: only Unix has these flags.
const noFollow = 0
