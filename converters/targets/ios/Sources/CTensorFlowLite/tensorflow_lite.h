// The part of TFLite's C API (2.14 or later) that the package calls. It is declared here, so that the package compiles
// alike whatever headers a build of the library brings along.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreterOptions TfLiteInterpreterOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteSignatureRunner TfLiteSignatureRunner;
typedef struct TfLiteTensor TfLiteTensor;

// TfLiteStatus: 0 is success. TfLiteType: 1 is float32, 2 is int32. The model's bytes must outlive the interpreter.
TfLiteModel *TfLiteModelCreate(const void *bytes, size_t size);
void TfLiteModelDelete(TfLiteModel *model);

TfLiteInterpreterOptions *TfLiteInterpreterOptionsCreate(void);
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions *options);
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions *options, int32_t threads);

TfLiteInterpreter *TfLiteInterpreterCreate(const TfLiteModel *model, const TfLiteInterpreterOptions *options);
void TfLiteInterpreterDelete(TfLiteInterpreter *interpreter);
int32_t TfLiteInterpreterGetSignatureCount(const TfLiteInterpreter *interpreter);
const char *TfLiteInterpreterGetSignatureKey(const TfLiteInterpreter *interpreter, int32_t place);
TfLiteSignatureRunner *TfLiteInterpreterGetSignatureRunner(const TfLiteInterpreter *interpreter, const char *key);

size_t TfLiteSignatureRunnerGetInputCount(const TfLiteSignatureRunner *runner);
const char *TfLiteSignatureRunnerGetInputName(const TfLiteSignatureRunner *runner, int32_t place);
TfLiteTensor *TfLiteSignatureRunnerGetInputTensor(TfLiteSignatureRunner *runner, const char *name);
size_t TfLiteSignatureRunnerGetOutputCount(const TfLiteSignatureRunner *runner);
const char *TfLiteSignatureRunnerGetOutputName(const TfLiteSignatureRunner *runner, int32_t place);
const TfLiteTensor *TfLiteSignatureRunnerGetOutputTensor(const TfLiteSignatureRunner *runner, const char *name);
int TfLiteSignatureRunnerAllocateTensors(TfLiteSignatureRunner *runner);
int TfLiteSignatureRunnerInvoke(TfLiteSignatureRunner *runner);
void TfLiteSignatureRunnerDelete(TfLiteSignatureRunner *runner);

int TfLiteTensorType(const TfLiteTensor *tensor);
int32_t TfLiteTensorNumDims(const TfLiteTensor *tensor);
int32_t TfLiteTensorDim(const TfLiteTensor *tensor, int32_t place);
size_t TfLiteTensorByteSize(const TfLiteTensor *tensor);
int TfLiteTensorCopyFromBuffer(TfLiteTensor *tensor, const void *bytes, size_t size);
int TfLiteTensorCopyToBuffer(const TfLiteTensor *tensor, void *bytes, size_t size);
