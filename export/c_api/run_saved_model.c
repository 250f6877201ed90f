/* Runs a signature of an exported model by TensorFlow's C API: no Python in the process.

   run_saved_model VERSION_FOLDER pixels INPUT N H W FILE  OUTPUT FILE [OUTPUT FILE …]
   run_saved_model VERSION_FOLDER bytes INPUT N FILE_1 … FILE_N  OUTPUT FILE [OUTPUT FILE …]

   pixels: FILE holds uint8 [N, H, W, 3], row by row. bytes: an encoded picture a file.
   INPUT and OUTPUT are names of tensors, such as serving_default_image:0, as printed by
   saved_model_cli show --dir VERSION_FOLDER --tag_set serve --signature_def serving_default
   A numeric output is written as it lies in memory; one of strings as FILE.0, FILE.1, …
   For each a line is printed: FILE, TF_DataType, sides.

   Built with the libraries and headers of TensorFlow's Python package, TF its folder:
   cc -O2 run_saved_model.c -o run_saved_model -I$TF/include -L$TF -Wl,-rpath,$TF \
     -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2
*/

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("error: ", stderr);
  vfprintf(stderr, format, arguments);
  fputs("\n", stderr);
  va_end(arguments);
  exit(1);
}

static void check(TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) fail("%s", TF_Message(status));
}

static int64_t to_number(const char* text) {
  char* end;
  const long long number = strtoll(text, &end, 10);
  if (*end || end == text || number < 1) fail("%s is no number of 1 or more", text);
  return number;
}

/* Returns the bytes of a file, to be freed, and how many there are. */
static char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail("cannot read %s", path);
  *size = ftell(file);
  rewind(file);
  char* bytes = malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, file) != *size) fail("cannot read %s", path);
  fclose(file);
  return bytes;
}

static void write_file(const char* path, const void* bytes, size_t size) {
  FILE* file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) fail("cannot write %s", path);
}

/* Returns uint8 [num, height, width, 3] of a raw file. */
static TF_Tensor* pixels_tensor(const char* path, int64_t num, int64_t height, int64_t width) {
  const int64_t sides[] = {num, height, width, 3};
  size_t size;
  char* bytes = read_file(path, &size);
  if (size != (size_t)(num * height * width * 3))
    fail("%s has %zu bytes, not N*H*W*3 = %lld", path, size, (long long)(num * height * width * 3));
  TF_Tensor* tensor = TF_AllocateTensor(TF_UINT8, sides, 4, size);
  memcpy(TF_TensorData(tensor), bytes, size);
  free(bytes);
  return tensor;
}

/* Returns strings [num], the bytes of that many files. */
static TF_Tensor* bytes_tensor(char** paths, int64_t num) {
  TF_Tensor* tensor = TF_AllocateTensor(TF_STRING, &num, 1, num * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(tensor);
  for (int64_t k = 0; k < num; ++k) {
    size_t size;
    char* bytes = read_file(paths[k], &size);
    TF_StringInit(&strings[k]);
    TF_StringCopy(&strings[k], bytes, size);
    free(bytes);
  }
  return tensor;
}

/* Returns the tensor of a name OPERATION:INDEX. */
static TF_Output find_tensor(TF_Graph* graph, const char* name) {
  char* operation = strcpy(malloc(strlen(name) + 1), name);
  char* colon = strrchr(operation, ':');
  if (colon) *colon = '\0';
  const TF_Output output = {TF_GraphOperationByName(graph, operation), colon ? atoi(colon + 1) : 0};
  if (!output.oper) fail("the model has no tensor %s", name);
  free(operation);
  return output;
}

static void write_tensor(const TF_Tensor* tensor, const char* path) {
  printf("%s %d", path, TF_TensorType(tensor));
  for (int k = 0; k < TF_NumDims(tensor); ++k) printf(" %lld", (long long)TF_Dim(tensor, k));
  printf("\n");
  if (TF_TensorType(tensor) != TF_STRING) {
    write_file(path, TF_TensorData(tensor), TF_TensorByteSize(tensor));
    return;
  }
  const TF_TString* strings = TF_TensorData(tensor);
  for (int64_t k = 0; k < TF_TensorElementCount(tensor); ++k) {
    char numbered[4096];
    snprintf(numbered, sizeof numbered, "%s.%lld", path, (long long)k);
    write_file(numbered, TF_StringGetDataPointer(&strings[k]), TF_StringGetSize(&strings[k]));
  }
}

int main(int argc, char** argv) {
  const int is_pixels = argc > 2 && !strcmp(argv[2], "pixels");
  if (argc < 6 || (!is_pixels && strcmp(argv[2], "bytes")))
    fail("usage: see the head of run_saved_model.c");
  const int64_t num = to_number(argv[4]);
  if (!is_pixels && num > argc) fail("%s files are not given", argv[4]);
  const int first = is_pixels ? 8 : 5 + (int)num; /* of the outputs among the arguments */
  const int num_outputs = (argc - first) / 2;
  if (num_outputs < 1 || (argc - first) % 2) fail("after the input come OUTPUT FILE, in pairs");

  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  const TF_Output input = find_tensor(graph, argv[3]);
  TF_Tensor* given = is_pixels
      ? pixels_tensor(argv[7], num, to_number(argv[5]), to_number(argv[6]))
      : bytes_tensor(argv + 5, num);
  TF_Output* outputs = calloc(num_outputs, sizeof *outputs);
  TF_Tensor** found = calloc(num_outputs, sizeof *found);
  for (int k = 0; k < num_outputs; ++k) outputs[k] = find_tensor(graph, argv[first + 2 * k]);
  TF_SessionRun(session, NULL, &input, &given, 1, outputs, found, num_outputs, NULL, 0, NULL,
                status);
  check(status);

  for (int k = 0; k < num_outputs; ++k) {
    write_tensor(found[k], argv[first + 2 * k + 1]);
    TF_DeleteTensor(found[k]);
  }
  TF_DeleteTensor(given);
  free(found);
  free(outputs);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
