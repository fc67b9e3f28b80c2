// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libFuzzer over the operation bytes of the model test. An input that fails is
 * reproduced, and told in words, by "model --from-bytes FILE --verbose".
 */
#include "../model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* Each run allocates megabytes; kept in quarantine they would be fresh pages every time. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4:thread_local_quarantine_size_kb=64:"
	       "allocator_release_to_os_interval_ms=-1";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct m_config cfg = { .inject = true, .abort = true };

	m_run_bytes(&cfg, data, size);
	return 0;
}
