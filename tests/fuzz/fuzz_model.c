// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libFuzzer over the operation bytes of the model test. An input that fails is
 * reproduced, and told in words, by "model --from-bytes FILE --verbose".
 */
#include "../model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct m_config cfg = { .inject = true, .abort = true };

	m_run_bytes(&cfg, data, size);
	return 0;
}
