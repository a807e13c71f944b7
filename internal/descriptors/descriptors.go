// Package descriptors returns how many files a process may open, so that parallel work does not use up all
// descriptors.
package descriptors

import "sync"

// maxLimit is the result of [Limit] if there is no lower limit.
const maxLimit = 1 << 20

// Limit returns how many files this process may open, at most 2^20. It is the limit of the first call.
var Limit = sync.OnceValue(limit)
