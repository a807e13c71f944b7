package uploads

import (
	"cmp"
	"math"
	"runtime"
	"time"
)

// Options configure a [Spool]. The zero values are useful.
type Options struct {
	// Dir is the directory of the files; it is created. One process uses it at a time. "" is a temporary directory,
	// which remains if the process is killed.
	Dir string

	// Quota is the number of bytes that a client may have in the spool; 0 is 32 GiB. Files is the number of archives; 0
	// is 100,000. All clients of an uploader together may have four times as much. Nix from 2.35 on uploads all
	// archives of a copy before most of the narinfos.
	Quota int64
	Files int

	// MaxFile is the largest size of an archive as it is uploaded, in bytes; 0 is 16 GiB. MaxArchive is the largest size
	// of a decompressed one; 0 is 32 GiB.
	MaxFile, MaxArchive int64

	// MaxRatio is how many times larger than the file its archive may be; 0 is 1000. FreeSize is the size in bytes up to
	// which the ratio does not count; 0 is 64 MiB. Only contents such as zeros compress better than that.
	MaxRatio, FreeSize int64

	// Expiry is the time after which an archive is deleted if no narinfo needs it; 0 is an hour.
	Expiry time.Duration

	// Decoders is the number of archives that are decompressed at the same time; 0 is the number of processors. One may
	// take 128 MiB of memory.
	Decoders int
}

// setDefaults replaces zero values.
func (o *Options) setDefaults() {
	o.Quota = min(cmp.Or(o.Quota, 32<<30), math.MaxInt64/clientsQuota)
	o.Files = min(cmp.Or(o.Files, 100_000), math.MaxInt/clientsQuota)
	o.MaxFile = cmp.Or(o.MaxFile, 16<<30)
	o.MaxArchive = cmp.Or(o.MaxArchive, 32<<30)
	o.MaxRatio = cmp.Or(o.MaxRatio, 1000)
	o.FreeSize = cmp.Or(o.FreeSize, 64<<20)
	o.Expiry = cmp.Or(o.Expiry, time.Hour)
	o.Decoders = cmp.Or(o.Decoders, runtime.GOMAXPROCS(0))
}

// maxArchive returns the largest size of the archive in a file of that size.
func (o *Options) maxArchive(fileSize int64) int64 {
	if fileSize > o.MaxArchive/o.MaxRatio {
		return o.MaxArchive
	}
	return min(o.MaxArchive, o.FreeSize+fileSize*o.MaxRatio)
}
